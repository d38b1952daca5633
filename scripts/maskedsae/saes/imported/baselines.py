"""SAEs that no one trained, to compare with: principal components, random directions, and the activations themselves.

They are of dictionary_learning's classes: ReLU, with each direction in both signs, or TopK where `k` latents are kept.
"""

from collections.abc import Iterable
from typing import Any

import torch

from ...jobs.errors import InputError
from ..formats import Weights
from .peers import Loaded
from .settings import Baseline

SEED = 0  # of the random directions


class Moments:
    """Mean and covariance of rows, in float64."""

    def __init__(self, width: int):
        self.count, self.sum = 0, torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, rows: torch.Tensor) -> None:
        wide = rows.double().cpu()
        self.count += len(wide)
        self.sum += wide.sum(0)
        self.products += wide.T @ wide

    @property
    def mean(self) -> torch.Tensor:
        return self.sum / self.count

    @property
    def covariance(self) -> torch.Tensor:
        return self.products / self.count - torch.outer(self.mean, self.mean)


def make(baseline: Baseline, width: int, rows: Iterable[torch.Tensor], where: str) -> Loaded:
    """`rows` are activations of text that no score is computed on."""
    if baseline.kind == "raw":
        return _loaded(both_signs(torch.eye(width)), torch.zeros(width), None)
    latents, k = baseline.latents or 2 * width, baseline.k
    if baseline.kind == "pca" and latents > 2 * width:
        raise InputError(f"{where}.latents: {latents} is more than both signs of {width} dimensions: lower it")
    if k is not None and k > latents:
        raise InputError(f"{where}.k: {k} is larger than the number of latents ({latents}): lower it")
    moments = Moments(width)
    for some in rows:
        moments.add(some)
    if baseline.kind == "pca":
        # eigh gives the smallest variance first
        components = torch.linalg.eigh(moments.covariance).eigenvectors.flip(1).T[: latents // 2]
        directions = both_signs(components.float())
    else:
        directions = torch.randn(latents, width, generator=torch.Generator().manual_seed(SEED))
    return _loaded(directions / directions.norm(dim=1, keepdim=True), moments.mean.float(), k)


def both_signs(directions: torch.Tensor) -> torch.Tensor:
    return torch.cat([directions, -directions])


def _loaded(directions: torch.Tensor, bias: torch.Tensor, k: int | None) -> Loaded:
    latents, width = directions.shape
    weights: Weights = {
        "encoder.weight": directions.contiguous(),
        "encoder.bias": torch.zeros(latents),
        "decoder.weight": directions.T.contiguous(),
    }
    trainer: dict[str, Any] = {"activation_dim": width, "dict_size": latents, "layer": None, "lm_name": None}
    if k is None:
        return Loaded(weights | {"bias": bias}, trainer | {"dict_class": "AutoEncoder"}, {"context_length": None})
    weights |= {"b_dec": bias, "k": torch.tensor(k, dtype=torch.int), "threshold": torch.tensor(-1.0)}
    return Loaded(weights, trainer | {"dict_class": "AutoEncoderTopK", "k": k}, {"context_length": None})
