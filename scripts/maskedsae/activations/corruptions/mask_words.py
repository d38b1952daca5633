"""A control: whole words are masked, as the paper's text can also be read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Corrupted, Corruption, Ids, Vocabulary, replaced, uniforms


@dataclass(frozen=True)
class MaskWords(Corruption, kind="mask_words", done="masked word by word"):
    """All tokens of a word are replaced by the mask string, each by one, with probability p for each word. A word's
    number is that of its first token: where `mask` masks that one, the whole word is masked here."""

    def corrupt(self, contexts: Ids, numbers: Sequence[int], seed: int, vocabulary: Vocabulary) -> Corrupted:
        chosen = uniforms(seed, numbers, contexts.shape[1]) < self.p
        masked = np.take_along_axis(chosen, first_of_word(contexts, vocabulary.word_edges), axis=1)
        return replaced(contexts, masked & ~np.isin(contexts, vocabulary.special_ids), vocabulary.mask_id)


def first_of_word(contexts: Ids, edges: NDArray[np.bool_]) -> Ids:
    """For each position that of its word's first token.

    A token goes on with the word before it if no space, line break or punctuation stands between them. So punctuation
    and blanks are words of their own, and a word that is cut by the context's start begins there.
    """
    begins, ends = edges
    starts = np.ones(contexts.shape, bool)
    starts[:, 1:] = ~(begins[contexts[:, 1:]] & ends[contexts[:, :-1]])
    return np.maximum.accumulate(np.where(starts, np.arange(contexts.shape[1]), 0), axis=1)
