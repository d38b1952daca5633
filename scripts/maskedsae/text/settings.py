"""What a model's tokens depend on, besides the model itself."""

from dataclasses import dataclass, field
from typing import Any

from ..jobs.errors import InputError
from ..jobs.typed import plain


@dataclass(frozen=True)
class Filter:
    """Which records of a corpus are taken: those whose `field` (a dotted path) equals a value."""

    field: str
    equals: Any


@dataclass(frozen=True)
class Corpus:
    """Where text comes from: a Hugging Face data set, streamed, or local files."""

    dataset: str | None = None
    subset: str | None = None
    split: str | None = None
    revision: str | None = None
    files: tuple[str, ...] | None = None
    text_field: str = "text"
    filter: Filter | None = None

    @property
    def name(self) -> str:
        return f"dataset {self.dataset}" if self.dataset else ", ".join(self.files or ())

    def given(self) -> dict[str, Any]:
        """The values that are not null, for the manifest."""
        values = {key: plain(getattr(self, key)) for key in self.__dataclass_fields__}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class TokenSettings:
    """How a corpus becomes contexts of token ids, and how many are needed."""

    corpus: Corpus
    context_length: int
    train_contexts: int
    heldout_contexts: int
    separator: str  # eos, bos or none
    repeat: bool
    drop_bos: bool
    code: dict[str, str] = field(default_factory=dict)

    def check(self, bos: bool) -> None:
        """`bos`: whether the model's contexts start with BOS."""
        if self.drop_bos and not bos:
            raise InputError(
                "training.drop_bos: this model's contexts have no BOS: set it to false, or the model's bos to true"
            )
        if min(self.train_contexts, self.heldout_contexts) < 1 or self.context_length < 1 + bos:
            raise InputError(
                "tokens: at least one training and one held-out context are needed, with room for text: raise "
                "training.tokens, tokens.heldout_contexts or tokens.context_length"
            )
