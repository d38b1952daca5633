"""dictionary_learning's own step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..trainers.base import Form, autocast
from .one_by_one import OneByOne


def steps_of(trainers: Sequence[Any], forms: Sequence[Form | None], dtype: torch.dtype, device: str) -> OneByOne:
    return OneByOne([_update(trainer, dtype, device) for trainer in trainers])


def _update(trainer: Any, dtype: torch.dtype, device: str) -> Callable[[int, torch.Tensor], float]:
    def update(number: int, x: torch.Tensor) -> float:
        with autocast(dtype, device):
            loss = trainer.update(number, x)
        return float(trainer.last_loss.detach() if loss is None else loss)

    return update
