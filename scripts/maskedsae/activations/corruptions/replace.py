"""A control: tokens are replaced by others of the text, so no mask string is seen and no token is more common."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import DRAW, Corrupted, Corruption, Ids, Vocabulary, replaced, touched, uniforms


@dataclass(frozen=True)
class Replace(Corruption, kind="replace", done="replaced"):
    """Each token is replaced, with probability p, by a draw from the training text's unigrams without BOS, EOS and
    padding. The draw can be the token that was there."""

    def corrupt(self, contexts: Ids, numbers: Sequence[int], seed: int, vocabulary: Vocabulary) -> Corrupted:
        hit = touched(self.p, contexts, numbers, seed, vocabulary.special_ids)
        return replaced(contexts, hit, drawn(numbers, contexts.shape[1], seed, vocabulary))


def drawn(numbers: Sequence[int], length: int, seed: int, vocabulary: Vocabulary) -> Ids:
    """A token for each position, each as often as it occurs in the text: one fixed draw for (seed, context, position),
    whatever p is."""
    counts = vocabulary.counts.copy()
    counts[list(vocabulary.special_ids)] = 0
    upto = counts.cumsum()
    places = uniforms(seed, numbers, length, DRAW) * upto[-1]  # in the text with its tokens sorted
    found: Ids = np.searchsorted(upto, places.astype(np.int64), side="right")
    return found
