"""Explained variance computed rightly, on the tokens that SAEBench's core takes its two values from.

SAEBench's `explained_variance` subtracts the square of a scalar (the mean of squares) where the squared mean vector
belongs, so it is nearly uncentred; its `explained_variance_legacy` is a mean of ratios, token by token, about the mean
of a batch. Here: 1 - sum |x - x_hat|^2 / sum |x - mean of all x|^2, in float64.
"""

import torch


class Centred:
    """Sums over the activations that a model gives to an SAE and what it makes of them; special tokens left out."""

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

    def result(self) -> dict:
        variance = self.squares - (self.sum.pow(2).sum() / self.tokens).item()
        return {
            "centred": 1 - self.residual_squares / variance,
            "l0": self.active / self.tokens,
            "tokens": self.tokens,
        }


class Watched:
    """Lets `centred` see core's pass over the tokens: each `run_with_cache` of the model, then the SAE's decoding."""

    def __init__(self, centred: Centred, model, sae):
        self.centred, self._tokens = centred, None
        run_with_cache, encode, decode = model.run_with_cache, sae.encode, sae.decode

        def watched_run(tokens, **options):
            self._tokens = tokens
            return run_with_cache(tokens, **options)

        def watched_encode(x):
            self._x = x
            return encode(x)

        def watched_decode(features):
            x_hat = decode(features)
            if self._tokens is not None:  # core's other pass, which replaces activations, does not run_with_cache
                centred.add(self._tokens, self._x, features, x_hat)
                self._tokens = None
            return x_hat

        model.run_with_cache, sae.encode, sae.decode = watched_run, watched_encode, watched_decode
