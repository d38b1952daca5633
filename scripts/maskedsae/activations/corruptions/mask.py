"""The paper's corruption: a token becomes the mask string."""

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Corrupted, Corruption, Ids, Vocabulary, replaced, touched


@dataclass(frozen=True)
class Mask(Corruption, kind="mask", done="masked"):
    """Each token is replaced by the mask string with probability p."""

    string: str | None = None  # null: `mask` of the configuration

    @property
    def strings(self) -> tuple[str, ...]:
        return () if self.string is None else (self.string,)

    def corrupt(self, contexts: Ids, numbers: Sequence[int], seed: int, vocabulary: Vocabulary) -> Corrupted:
        masked = touched(self.p, contexts, numbers, seed, vocabulary.special_ids)
        mask_id = vocabulary.mask_id if self.string is None else vocabulary.token_id(self.string)
        return replaced(contexts, masked, mask_id)
