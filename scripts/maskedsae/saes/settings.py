"""What an SAE depends on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..activations.settings import Stream

FAST_KINDS = ("matryoshka_batch_topk", "batch_topk", "topk")  # of trainers that have a step of our own
SHARES_LATENTS = ("matryoshka_batch_topk", "batch_topk", "jumprelu")
AIMS_AT_L0 = (*SHARES_LATENTS, "topk")  # for the others the nominal l0 is only the name of a penalty
WINDOW = 500  # steps behind the variance of the loss in training.csv [article]


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
    """How an SAE learns: a class that dictionary_learning's trainSAE can drive (`kind`), its number of latents and its
    other settings."""

    name: str
    kind: str
    dict_size: int
    # Named as in dictionary_learning; and decay_start, a share of the steps. A mapping gives one for each nominal l0.
    settings: dict[str, Any]

    @property
    def shares_latents(self) -> bool:
        """Whether l0 is held on average over tokens, so that a token that needs fewer latents leaves more to others."""
        return self.kind in SHARES_LATENTS

    @property
    def by_l0(self) -> dict[str, dict[int, float]]:
        """The settings that are given for each nominal l0. (In JSON the l0s are text.)"""
        mappings = {key: value for key, value in self.settings.items() if isinstance(value, dict)}
        return {key: {int(l0): given for l0, given in value.items()} for key, value in mappings.items()}

    def among(self, l0s: Iterable[int]) -> Trainer:
        """Without what it is given for other l0s than these."""
        wanted = set(l0s)
        kept = {key: {l0: value[l0] for l0 in value if l0 in wanted} for key, value in self.by_l0.items()}
        return replace(self, settings=self.settings | kept)

    def at(self, l0: int) -> Trainer:
        """With what it is given for this l0."""
        return replace(self, settings=self.settings | {key: value[l0] for key, value in self.by_l0.items()})

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
