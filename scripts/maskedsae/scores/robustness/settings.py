"""What robustness depends on: section `robustness` of the configuration, and its parts."""

from dataclasses import dataclass

from ...activations.corruptions.base import Corruption, known_kinds
from ...activations.settings import Stream

OWN_KINDS = ("cut", "random", "typo")  # corruptions.py has them; no stream can
RESERVED = ("clean", "own", "mean")  # parts of robustness.json that are no corruption


def damage_kinds() -> list[str]:
    return sorted({*OWN_KINDS, *known_kinds()})


@dataclass(frozen=True)
class Damage:
    """A corruption that SAEs are tested on: a kind of corruptions.py here, or one of activations/corruptions/."""

    name: str
    kind: str
    p: float


@dataclass(frozen=True)
class Robustness:
    """The section."""

    contexts: int
    rows: int
    corruptions: tuple[Damage, ...]
    parents: tuple[str, ...]
    k: int
    seed: int


@dataclass(frozen=True)
class RobustnessTexts:
    """What decides the activations that all SAEs of a model share."""

    contexts: int
    rows: int
    corruptions: tuple[Damage, ...]
    streams: tuple[Corruption, ...]  # those of the configuration's streams, each once
    parents: tuple[str, ...]
    seed: int
    dtype: str
    lm_batch: int
    code: dict[str, str]


@dataclass(frozen=True)
class RobustnessSettings:
    """What decides an SAE's numbers, except the activations and the SAE (inputs)."""

    stream: Stream  # the one that it was trained on
    rates: tuple[float, ...]  # of the configuration's streams: thresholds are reset to l0 / (1 - p)
    k: int
    seed: int
    code: dict[str, str]
