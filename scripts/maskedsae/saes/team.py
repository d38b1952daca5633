"""The SAEs of a job that are at the same step, and learn from the same batch."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol

import torch

from .learner import Learner


class Steps(Protocol):
    """The steps of some SAEs. Losses are read apart, since on a GPU the host has to wait for them."""

    waits: bool  # whether reading the losses makes the host wait

    def __call__(self, number: int, x: torch.Tensor) -> None: ...

    def losses(self) -> list[list[float]]:
        """Of each step since they were last asked for, of each SAE."""


class Team:
    def __init__(self, learners: Sequence[Learner], dtype: torch.dtype, device: str):
        self.learners = list(learners)
        self._groups: list[tuple[list[Learner], Steps]] = []
        for way in dict.fromkeys(learner.way for learner in learners):
            group = [learner for learner in learners if learner.way == way]
            steps_of: Callable[..., Steps] = import_module(f"{__package__}.steps.{way}").steps_of
            trainers, forms = [learner.trainer for learner in group], [learner.kind.form for learner in group]
            self._groups.append((group, steps_of(trainers, forms, dtype, device)))

    def learn(self, number: int, x: torch.Tensor) -> None:
        for learners, steps in self._groups:
            steps(number, x)
            for learner in learners:
                learner.step = number + 1

    @property
    def waits(self) -> bool:
        return any(steps.waits for _, steps in self._groups)

    def settle(self) -> list[Learner]:
        """Look at the losses since the last time; the learners that have diverged."""
        fine = [learner for learner in self.learners if not learner.diverged]
        for learners, steps in self._groups:
            rows = steps.losses()
            for number, learner in enumerate(learners):
                learner.record_losses([losses[number] for losses in rows])
        return [learner for learner in fine if learner.diverged]
