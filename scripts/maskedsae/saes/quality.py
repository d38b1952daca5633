"""An SAE on held-out clean rows: its sparsity, and how much it explains."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..activations.language_models import LanguageModel
from ..jobs.progress import Progress
from ..text.tokens import Tokens


@dataclass(frozen=True)
class HeldOut:
    """Clean rows that no SAE learns from, in so many batches."""

    rows: Iterable[torch.Tensor]
    batches: int
    text: str  # what they are, in words


def clean_text(model: LanguageModel, tokens: Tokens, lm_batch: int) -> HeldOut:
    text = "held out, clean; the first position of a context, BOS, EOS and padding left out"
    return HeldOut(
        _clean_rows(model, tokens.heldout, tokens.n_heldout, lm_batch), -(-tokens.n_heldout // lm_batch), text
    )


def training_rows(model: LanguageModel, tokens: Tokens, lm_batch: int) -> Iterator[torch.Tensor]:
    """The same of training contexts, as many as are held out."""
    return _clean_rows(model, tokens.contexts, min(tokens.n_train, tokens.n_heldout), lm_batch)


def _clean_rows(
    model: LanguageModel, read: Callable[[int, int], NDArray[np.int64]], count: int, lm_batch: int
) -> Iterator[torch.Tensor]:
    special = torch.tensor(model.facts.special_ids)
    for first in range(0, count, lm_batch):
        contexts = torch.from_numpy(read(first, min(first + lm_batch, count)))
        measured = ~torch.isin(contexts, special)
        # The first position is an attention sink whatever its token, in Pythia as on Gemma's BOS; its large norm
        # would make up most of the variance.
        measured[:, 0] = False
        yield model.residual(contexts)[measured.to(model.device)].float()


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
        }


@torch.no_grad()
def measure(saes: list[tuple[Any, int]], name: str, heldout: HeldOut) -> list[dict[str, Any]]:
    """Measures of each (SAE with its threshold, as it is used; nominal l0); all share the held-out rows."""
    qualities = [Quality(sae, l0) for sae, l0 in saes]
    with Progress(f"{name}: held-out quality", heldout.batches, "batches") as progress:
        for rows in heldout.rows:
            for quality in qualities:
                quality.add(rows)
            progress.advance(1)
    return [quality.result() | {"text": heldout.text} for quality in qualities]
