"""A step of our own: sparse on a CPU; on a GPU dense, and one graph for all SAEs."""

from collections.abc import Sequence
from typing import Any

import torch

from ..trainers.base import Form
from .dense import DenseStep
from .graph import record
from .one_by_one import OneByOne
from .sparse import SparseStep
from .together import Together


def steps_of(trainers: Sequence[Any], forms: Sequence[Form], dtype: torch.dtype, device: str) -> OneByOne | Together:
    pairs = list(zip(trainers, forms, strict=True))
    if device == "cpu":
        return OneByOne([SparseStep(trainer, form) for trainer, form in pairs])
    return Together([DenseStep(trainer, form, dtype) for trainer, form in pairs], record)
