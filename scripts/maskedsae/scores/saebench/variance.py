"""Explained variance by its textbook formula, on the tokens from which SAEBench's core computes its two values.

SAEBench's `explained_variance` subtracts the square of a scalar (the mean of squares) where the squared mean vector
belongs, so it is nearly uncentred; its `explained_variance_legacy` is a mean of ratios, token by token, with the mean
of a batch. Here: 1 - sum |x - x_hat|^2 / sum |x - mean of all x|^2, in float64.
"""

from typing import Any

import torch


class Variance:
    """Sums over a model's activations and an SAE's latents and reconstructions of them, without special tokens."""

    def __init__(self, width: int, special_ids: set[int]):
        self.special = torch.tensor(sorted(special_ids))
        self.tokens = 0
        self.squares = self.residual_squares = self.active = 0.0
        self.sum = torch.zeros(width, dtype=torch.float64)

    @torch.no_grad()
    def add(self, tokens: torch.Tensor, x: torch.Tensor, features: torch.Tensor, x_hat: torch.Tensor) -> None:
        kept = ~torch.isin(tokens.cpu(), self.special).to(x.device)
        x, features, x_hat = x[kept], features[kept], x_hat[kept]
        wide, residual = x.double(), (x - x_hat).double()
        self.tokens += len(x)
        self.squares += wide.pow(2).sum().item()
        self.residual_squares += residual.pow(2).sum().item()
        self.active += (features != 0).sum().item()
        self.sum += wide.sum(0).cpu()

    def result(self) -> dict[str, Any]:
        variance = self.squares - (self.sum.pow(2).sum() / self.tokens).item()
        return {
            "centred": 1 - self.residual_squares / variance,
            "l0": self.active / self.tokens,
            "tokens": self.tokens,
        }


def observe(variance: Variance, model: Any, sae: Any) -> None:
    """Let `variance` see core's pass over the tokens: each `run_with_cache` of the model, then the SAE's decoding."""
    run_with_cache, encode, decode = model.run_with_cache, sae.encode, sae.decode
    seen: dict[str, Any] = {}

    def observed_run(tokens: Any, **options: Any) -> Any:
        seen["tokens"] = tokens
        return run_with_cache(tokens, **options)

    def observed_encode(x: torch.Tensor) -> Any:
        seen["x"] = x
        return encode(x)

    def observed_decode(features: torch.Tensor) -> Any:
        x_hat = decode(features)
        if "tokens" in seen:  # core's other pass, which replaces activations, does not call run_with_cache
            variance.add(seen.pop("tokens"), seen["x"], features, x_hat)
        return x_hat

    model.run_with_cache, sae.encode, sae.decode = observed_run, observed_encode, observed_decode
