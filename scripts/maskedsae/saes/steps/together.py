"""The dense steps of all SAEs of a job, recorded as one program: the host starts it and does not wait for its end."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from .dense import DenseStep

# Takes each SAE's step, and the tensors that they change; returns a function that does all and returns their losses.
Record = Callable[[Sequence[Callable[[], torch.Tensor]], Sequence[torch.Tensor]], Callable[[], torch.Tensor]]


class Together:
    waits = True

    def __init__(self, steps: Sequence[DenseStep], record: Record):
        self._steps, self._record = steps, record
        self._recorded: object = None  # what the recording is for
        self._run: Callable[[], torch.Tensor] | None = None
        self._losses: list[torch.Tensor] = []

    def __call__(self, number: int, x: torch.Tensor) -> None:
        if number == 0:
            for step in self._steps:
                step.start(x)
        revive = [step.revives(len(x)) for step in self._steps]
        if self._recorded != (x.shape, x.dtype, revive):
            self._recorded = (x.shape, x.dtype, revive)
            self._run = None  # the memory of the one before is needed
            self._x = x.clone()
            branches = [partial(step, self._x, dead) for step, dead in zip(self._steps, revive, strict=True)]
            self._run = self._record(branches, [each for step in self._steps for each in step.state])
        self._x.copy_(x)
        for step in self._steps:
            step.prepare(len(x))
        assert self._run is not None
        self._losses.append(self._run().clone())

    def losses(self) -> list[list[float]]:
        """Of each step since they were last asked for, of each SAE. Here the host waits for the device."""
        found: list[list[float]] = torch.stack(self._losses).tolist() if self._losses else []
        self._losses = []
        for step in self._steps:
            step.look()
        return found
