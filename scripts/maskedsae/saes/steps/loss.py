"""The loss of dictionary_learning's trainers and its gradients, as far as they are the same on every device."""

from dataclasses import dataclass
from typing import Any

import torch


def groups_of(trainer: Any) -> list[tuple[int, float]]:
    """The nested dictionaries: how many latents each adds, and its share of the loss. One where they are not nested."""
    if not hasattr(trainer, "group_sizes"):
        return [(trainer.ae.dict_size, 1.0)]
    count = len(trainer.group_sizes)  # the published recipe: weights that sum to 1, and then the mean over the groups
    return [(size, weight / count) for size, weight in zip(trainer.group_sizes, trainer.group_weights, strict=True)]


def moved_threshold(trainer: Any, smallest: torch.Tensor) -> torch.Tensor:
    """The running threshold after a step whose smallest active latent this is."""
    before, beta = trainer.ae.threshold, trainer.threshold_beta
    return torch.where(before < 0, smallest, beta * before + (1 - beta) * smallest)


def revival(reconstruction: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of rebuilding the residual from dead latents, and its gradient by their reconstruction.

    As in dictionary_learning, a NaN loss becomes 0 and an infinite one the largest float; neither has a gradient.
    """
    error = reconstruction - residual
    variance = (residual - residual.mean(0)).pow(2).sum(-1).mean()
    loss = error.pow(2).sum(-1).mean() / variance
    gradient = torch.where(loss.isfinite(), 2 * error / (len(error) * variance), 0.0)
    return loss.nan_to_num(0.0), gradient


@dataclass(frozen=True)
class Revived:
    """Dead latents in the auxiliary loss, and its gradients."""

    values: torch.Tensor  # rows x latents
    loss: torch.Tensor
    by_reconstruction: torch.Tensor
    by_value: torch.Tensor
