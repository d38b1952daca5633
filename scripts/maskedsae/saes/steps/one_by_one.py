"""Steps of some SAEs, one after the other."""

from collections.abc import Callable, Sequence

import torch


class OneByOne:
    waits = False

    def __init__(self, updates: Sequence[Callable[[int, torch.Tensor], float]]):
        """`updates`: each does one SAE's step (its number, the batch) and returns its loss."""
        self._updates = updates
        self._losses: list[list[float]] = []

    def __call__(self, number: int, x: torch.Tensor) -> None:
        self._losses.append([update(number, x) for update in self._updates])

    def losses(self) -> list[list[float]]:
        """Of each step since they were last asked for, of each SAE."""
        found, self._losses = self._losses, []
        return found
