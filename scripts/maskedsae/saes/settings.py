"""What an SAE depends on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..activations.settings import Stream

FAST_KINDS = ("matryoshka_batch_topk", "batch_topk", "topk")  # of trainers that have a step of our own


@dataclass(frozen=True)
class Reading:
    """How the language model is read."""

    name: str
    layer: int
    dtype: str
    lm_batch: int  # contexts in a forward pass
    tf32: bool  # whether its matrix products may use TF32


@dataclass(frozen=True)
class Training:
    """What all trainers share: section `training` of the configuration."""

    tokens: int
    batch: int
    dict_size: int
    shuffle_tokens: int
    normalise: bool
    norm_batches: int
    autocast: str
    drop_bos: bool
    max_norm_multiple: float | None
    step: str  # stock, or fast: a module of saes/steps

    @property
    def steps(self) -> int:
        return self.tokens // self.batch


@dataclass(frozen=True)
class Trainer:
    """How an SAE learns: a dictionary_learning class (`kind`), its number of latents and its other settings."""

    name: str
    kind: str
    dict_size: int
    settings: dict[str, Any]  # named as in dictionary_learning; and decay_start, a share of the steps

    @property
    def shares_latents(self) -> bool:
        """Whether l0 is held on average over tokens, so that a token that needs fewer latents leaves more to others."""
        return self.kind != "topk"

    def step(self, training: Training) -> str:
        """The step that it takes: the one that is asked for, or stock where it has no other."""
        return training.step if self.kind in FAST_KINDS else "stock"


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a cell's weights, except its l0 (which the cell has). A change retrains the cell."""

    model: Reading
    stream: Stream
    stream_seed: int  # of the corruption and of the order of the rows
    contexts: int  # how many contexts the stream may read, from the start of the tokens
    trainer: Trainer
    training: Training
    seed: int  # of the initial weights
    code: dict[str, str]


@dataclass(frozen=True)
class TrainJobSettings:
    """The same for all cells that one job trains: they share a model and a stream."""

    model: Reading
    stream: Stream
    stream_seed: int
    contexts: int
    trainers: dict[str, Trainer]
    training: Training
    code: dict[str, dict[str, str]]  # of each trainer: {module: hash}

    def for_cell(self, trainer: str, seed: int) -> TrainSettings:
        """Those of one cell. They do not depend on what else the job trains."""
        shared = {key: getattr(self, key) for key in ("model", "stream", "stream_seed", "contexts")}
        own = self.trainers[trainer]
        training = replace(self.training, step=own.step(self.training))
        return TrainSettings(**shared, trainer=own, training=training, seed=seed, code=self.code[trainer])
