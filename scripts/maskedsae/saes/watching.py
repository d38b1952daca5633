"""What training.csv holds for the audit (scores/audit): measured while an SAE learns, and without any effect on it."""

from collections import deque
from typing import Any

import numpy as np
import torch

from .settings import WINDOW
from .trainers import base as trainers

# All three are the article's (docs/article.md), which takes the running mean over every step. Here it is over the
# logged ones, whose latents are known anyway: so it remembers about 100 rows of training.csv.
MEMORY = 0.99  # of the running mean of each latent's activation
DORMANT = (5e-5, 1e-4)  # means below which it calls a latent dormant: in early layers, and elsewhere

COLUMNS = (*(f"dormant_{level:.0e}" for level in DORMANT), "least_decoder_norm", "l1", "masked_latents")


class Watch:
    """One SAE's last losses and the running mean of its latents."""

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.total: torch.Tensor | None = None  # of each latent's mean activation, and how many means that is:
        self.weight = 0.0  # the two in one would start from 1, as the article's does, and forget it after 900 rows

    @property
    def loss_variance(self) -> float:
        """Over the last steps, as many as there were."""
        return float(np.var(self.losses))

    def see(self, features: torch.Tensor) -> None:
        """The latents of a logged step."""
        means = features.float().abs().mean(0)
        self.total = means if self.total is None else MEMORY * self.total + means
        self.weight = MEMORY * self.weight + 1

    def row(self, trainer: Any, kind: trainers.TrainerKind) -> list[float | None]:
        """The columns; None where the trainer has no such thing."""
        assert self.total is not None
        means = self.total / self.weight
        mask = getattr(trainer, kind.mask) if kind.mask else None
        return [
            *((means < level).sum().item() for level in DORMANT),
            trainers.decoder_rows(trainer.ae).norm(dim=1).min().item(),
            float(getattr(trainer, kind.l1)) if kind.l1 else None,
            None if mask is None else int(mask.sum()),
        ]

    def state(self) -> dict[str, Any]:
        total = None if self.total is None else self.total.cpu()
        return {"losses": list(self.losses), "total": total, "weight": self.weight}

    def load_state(self, state: dict[str, Any], device: str) -> None:
        self.losses = deque(state["losses"], maxlen=WINDOW)
        self.total = None if state["total"] is None else state["total"].to(device)
        self.weight = state["weight"]
