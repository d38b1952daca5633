"""The file of activations that all SAEs of a language model share; reading it needs no language model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from ...activations.corruptions.base import Corruption
from .probes import Probe

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Rows:
    """Tokens of clean text."""

    x: torch.Tensor  # activations (rows, width), float32
    labels: dict[str, torch.Tensor]  # of each parent: which rows have it
    letters: torch.Tensor  # 0 to 25, or labels.NO_LETTER


@dataclass(frozen=True)
class Reading:
    """Clean tokens as they are in a corrupted context."""

    x: torch.Tensor  # of untouched tokens, behind at least one change
    rows: torch.Tensor  # which clean rows these are
    touched: torch.Tensor  # activations where a token was replaced


@dataclass(frozen=True)
class Texts:
    train: Rows  # of the first half of the contexts: probes learn from them, and latents are chosen on them
    test: Rows  # of the second half
    corrupted: dict[str, Reading]  # of `test`, by the corruption's name
    streams: dict[str, Reading]  # of `test`, by `spelled` of a stream's corruption
    probes: dict[str, Probe]  # of each parent, on clean activations of `train`


def spelled(corruption: Corruption) -> str:
    """The same for equal corruptions, whatever the streams' names."""
    return json.dumps(corruption.plain(), sort_keys=True)


def to_bytes(texts: Texts, dtype: torch.dtype) -> bytes:
    """Activations in the language model's own number format, so nothing is lost and nothing is stored twice."""
    tensors: Tensors = {}
    for part in ("train", "test"):
        rows: Rows = getattr(texts, part)
        tensors |= {f"{part}/x": rows.x.to(dtype), f"{part}/letters": rows.letters}
        tensors |= {f"{part}/labels/{parent}": labels for parent, labels in rows.labels.items()}
    names = {"corrupted": list(texts.corrupted), "streams": list(texts.streams), "parents": list(texts.probes)}
    for group in ("corrupted", "streams"):
        readings: dict[str, Reading] = getattr(texts, group)
        for number, reading in enumerate(readings.values()):
            tensors |= {f"{group}/{number}/x": reading.x.to(dtype), f"{group}/{number}/rows": reading.rows}
            tensors[f"{group}/{number}/touched"] = reading.touched.to(dtype)
    for parent, probe in texts.probes.items():
        tensors |= {f"probes/{parent}/weights": probe.weights, f"probes/{parent}/bias": torch.tensor(probe.bias)}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return save(contiguous, {"names": json.dumps(names)})  # one key: safetensors writes several in any order


def read_texts(path: str | Path) -> Texts:
    with safe_open(path, "pt") as file:
        names: Mapping[str, list[str]] = json.loads(file.metadata()["names"])
        tensor = file.get_tensor

        def rows(part: str) -> Rows:
            labels = {parent: tensor(f"{part}/labels/{parent}") for parent in names["parents"]}
            return Rows(tensor(f"{part}/x").float(), labels, tensor(f"{part}/letters"))

        def readings(group: str) -> dict[str, Reading]:
            found = {}
            for number, name in enumerate(names[group]):
                x, places, touched = (tensor(f"{group}/{number}/{field}") for field in ("x", "rows", "touched"))
                found[name] = Reading(x.float(), places, touched.float())
            return found

        probes = {
            parent: Probe(tensor(f"probes/{parent}/weights"), float(tensor(f"probes/{parent}/bias")))
            for parent in names["parents"]
        }
        return Texts(rows("train"), rows("test"), readings("corrupted"), readings("streams"), probes)
