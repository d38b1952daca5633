"""What a probe on an SAE reads: the latents of activations, and which differ most between two classes."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from ...jobs.files import read_json


class Encoder:
    """The encoder of a cell's SAE as it is used, with its threshold, from the files that SAELens loads.

    Written here because importing dictionary_learning or SAELens takes seconds, as long as the probing itself;
    tests/unit/test_ood.py compares.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        self.config = read_json(folder / "cfg.json")
        self.weights = load_file(folder / "sae_weights.safetensors")

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.config["apply_b_dec_to_input"]:
            x = x - self.weights["b_dec"]
        architecture, weights = self.config["architecture"], self.weights
        if architecture == "gated":
            along = x @ weights["W_enc"]
            return torch.relu(along * weights["r_mag"].exp() + weights["b_mag"]) * (along + weights["b_gate"] > 0)
        before = x @ weights["W_enc"] + weights["b_enc"]
        if architecture == "standard":
            return torch.relu(before)
        if architecture == "jumprelu":
            return torch.relu(before) * (before > weights["threshold"])
        top = torch.relu(before).topk(self.config["k"], sorted=False)
        return torch.zeros_like(before).scatter(-1, top.indices, top.values)


def most_different(features: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` latents with the largest |difference of class means|, in that order; ties by number."""
    difference = features[labels == 1].mean(0) - features[labels == 0].mean(0)
    return difference.abs().argsort(descending=True, stable=True)[:count]
