"""An SAE on held-out clean text: its sparsity, and how much it explains."""

from typing import Any

import torch

from ..activations.language_models import LanguageModel
from ..jobs.progress import Progress
from ..text.tokens import Tokens


class Quality:
    """Sums over activations (in float64), from which the measures are computed at the end."""

    def __init__(self, sae: Any, l0: int):
        self.sae, self.l0 = sae, l0
        self.rows = 0
        self.active = torch.zeros(sae.dict_size, dtype=torch.long)
        self.squares = self.residual_squares = 0.0
        self.sum = self.residual_sum = torch.zeros(sae.activation_dim, dtype=torch.float64)

    def add(self, x: torch.Tensor) -> None:
        x_hat, features = self.sae(x, output_features=True)
        wide, residual = x.double(), (x - x_hat).double()
        self.rows += len(x)
        self.active += (features != 0).sum(0).cpu()
        self.squares += wide.pow(2).sum().item()
        self.sum = self.sum + wide.sum(0).cpu()
        self.residual_squares += residual.pow(2).sum().item()
        self.residual_sum = self.residual_sum + residual.sum(0).cpu()

    def result(self) -> dict[str, Any]:
        """Explained variance is 1 - sum |x - x_hat|^2 / sum |x - mean of x|^2. `..._but_for_a_constant` subtracts
        the mean of x - x_hat first, so it ignores an error that is the same for every token, such as a wrong bias."""
        variance = self.squares - (self.sum.pow(2).sum() / self.rows).item()
        offset = (self.residual_sum.pow(2).sum() / self.rows).item()
        return {
            "nominal_l0": self.l0,
            "l0": self.active.sum().item() / self.rows,
            "explained_variance": 1 - self.residual_squares / variance,
            "explained_variance_but_for_a_constant": 1 - (self.residual_squares - offset) / variance,
            "mse": self.residual_squares / self.rows / self.sae.activation_dim,
            "dead_latents": int((self.active == 0).sum()),
            "latents": self.sae.dict_size,
            "tokens": self.rows,
            "text": "held out, clean; the first position of a context, BOS, EOS and padding left out",
        }


@torch.no_grad()
def measure(saes: list[tuple[Any, int]], model: LanguageModel, tokens: Tokens, lm_batch: int) -> list[dict[str, Any]]:
    """Measures of each (SAE with its threshold, as it is used; nominal l0); all share the model's forward passes."""
    qualities = [Quality(sae, l0) for sae, l0 in saes]
    special = torch.tensor(model.facts.special_ids)
    with Progress(f"{model.name}: held-out quality", tokens.n_heldout, "contexts") as progress:
        for first in range(0, tokens.n_heldout, lm_batch):
            contexts = torch.from_numpy(tokens.heldout(first, min(first + lm_batch, tokens.n_heldout)))
            measured = ~torch.isin(contexts, special)
            # The first position is an attention sink whatever its token, in Pythia as on Gemma's BOS; its large norm
            # would make up most of the variance.
            measured[:, 0] = False
            rows = model.residual(contexts)[measured.to(model.device)].float()
            for quality in qualities:
                quality.add(rows)
            progress.advance(len(contexts))
    return [quality.result() for quality in qualities]
