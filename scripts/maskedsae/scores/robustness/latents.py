"""An SAE on rows of activations: its latents, what it gives back, and the same with another threshold."""

from copy import copy

import torch

from ..ood.latents import Encoder

Numbers = dict[str, float]


def decoded(encode: Encoder, latents: torch.Tensor) -> torch.Tensor:
    return latents @ encode.weights["W_dec"] + encode.weights["b_dec"]


def l0(latents: torch.Tensor) -> float:
    return float((latents != 0).sum() / len(latents))


def explained_variance(x: torch.Tensor, x_hat: torch.Tensor) -> float:
    """1 - sum |x - x_hat|^2 / sum |x - mean of x|^2, as everywhere here."""
    wide = x.double()
    return float(1 - (wide - x_hat.double()).pow(2).sum() / (wide - wide.mean(0)).pow(2).sum())


def with_l0(encode: Encoder, x: torch.Tensor, target: float) -> Encoder | None:
    """The same weights with the threshold at which the l0 on these rows is `target`.

    Thresholds that differ between latents are all multiplied by one factor. None where there is no threshold (a top-k
    per token, ReLU, gates), or where fewer latents than that are positive before it.
    """
    if "threshold" not in encode.weights:
        return None
    threshold = encode.weights["threshold"].clamp(min=1e-9)
    positive = reset(encode, torch.zeros_like(threshold))(x)
    ratios = (positive / threshold).flatten()
    ratios = ratios[ratios > 0]
    count = round(target * len(x))
    if len(ratios) <= count:
        return None
    highest = ratios.topk(count + 1, sorted=True).values
    return reset(encode, threshold * (highest[-2] + highest[-1]) / 2)


def reset(encode: Encoder, threshold: torch.Tensor) -> Encoder:
    other = copy(encode)
    other.weights = encode.weights | {"threshold": threshold}
    return other
