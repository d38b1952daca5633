"""The demo's world: section `world` of the configuration."""

from dataclasses import dataclass

from ..jobs.errors import InputError

LONGEST_CONTEXT = 512  # positions a user may feed; rotary embeddings have no parameters to train for them


@dataclass(frozen=True)
class LanguageModelTraining:
    """Size and training of one model; it sees batch x context x steps tokens: 8 x 128 x 450 = 0.46M in the demo."""

    vocabulary: int
    layers: int
    width: int
    heads: int
    context: int
    batch: int  # rows per step
    # How many of them hold the first-letter task; the others are text. 0: neither that task nor the part of their
    # embeddings that words of one initial share, so that nothing about letters is put into the model.
    spelling_rows: int
    steps: int
    lr: float

    def __post_init__(self) -> None:
        if not 0 <= self.spelling_rows < self.batch:
            raise InputError(f"spelling_rows: {self.spelling_rows} must leave rows of the {self.batch} to text")
        if self.context > LONGEST_CONTEXT:
            raise InputError(f"context: {self.context} is over the models' {LONGEST_CONTEXT} positions")


@dataclass(frozen=True)
class LanguageModelEntry:
    name: str
    family: str
    training: LanguageModelTraining


@dataclass(frozen=True)
class World:
    seed: int
    characters: int
    language_models: tuple[LanguageModelEntry, ...]


@dataclass(frozen=True)
class CorpusSettings:
    """What decides the corpus."""

    characters: int
    seed: int
    code: dict[str, str]


@dataclass(frozen=True)
class LanguageModelSettings:
    """What decides a language model, beside the corpus."""

    family: str
    training: LanguageModelTraining
    seed: int
    code: dict[str, str]
