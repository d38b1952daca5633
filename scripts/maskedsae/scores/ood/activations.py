"""The file of activations that all probes of a language model share; reading it needs no language model."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

PARTS = ("train", "ood")  # of each data set: rows to train on, and shifted ones


@dataclass(frozen=True)
class Part:
    x: torch.Tensor  # activations (rows, width), float32, in the file's order
    labels: torch.Tensor
    texts: torch.Tensor  # one number per text, the same for equal texts of both parts


def to_bytes(tensors: dict[str, torch.Tensor], classes: dict[str, list[str]]) -> bytes:
    """{"data set/part/field": rows}, and what the classes of each data set mean."""
    return save(tensors, {"classes": json.dumps(classes)})  # one key: safetensors writes several in any order


def read_activations(path: str | Path) -> tuple[dict[str, dict[str, Part]], dict[str, list[str]]]:
    """{data set: {part: rows}}, and {data set: what class 0 and class 1 mean}."""
    with safe_open(path, "pt") as file:
        meanings = json.loads(file.metadata()["classes"])
        sets = {
            name: {
                part: Part(*(file.get_tensor(f"{name}/{part}/{field}") for field in ("x", "labels", "texts")))
                for part in PARTS
            }
            for name in meanings
        }
    return sets, meanings
