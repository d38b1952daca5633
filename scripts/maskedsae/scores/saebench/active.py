"""How many latents are active on the texts that an eval scores: the SAE's l0 there.

Only core gives one itself. l0 differs from text to text, and a score belongs to the l0 on its own texts.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


class Active:
    """Counts tokens and active latents in what an SAE encodes `during` a function of SAEBench."""

    def __init__(self, sae: Any):
        self.tokens = self.active = 0
        self._encode, self._counting = sae.encode, False
        sae.encode = self.encode

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._encode(x)
        if self._counting:
            self.add(x, features)
        return features

    @torch.no_grad()
    def add(self, x: torch.Tensor, features: torch.Tensor) -> None:
        """SAEBench sets the activations of BOS, EOS and padding to zero, and knows them by their sum; so they are known
        here."""
        kept = x.sum(-1) != 0
        self.tokens += int(kept.sum())
        self.active += int(torch.count_nonzero(features, -1)[kept].sum())

    def during(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            self._counting = True
            try:
                return function(*arguments, **options)
            finally:
                self._counting = False

        return counted

    def result(self) -> dict[str, float]:
        return {"l0": self.active / self.tokens, "tokens": self.tokens}
