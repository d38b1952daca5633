"""The paper's corruption: a token becomes the mask string."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import REPLACED, Corrupted, Corruption, Ids, Vocabulary, touched


@dataclass(frozen=True)
class Mask(Corruption, kind="mask", done="masked"):
    """Each token is replaced by the mask string (`mask` of the configuration) with probability p."""

    def corrupt(self, contexts: Ids, numbers: Sequence[int], seed: int, vocabulary: Vocabulary) -> Corrupted:
        masked = touched(self.p, contexts, numbers, seed, vocabulary.special_ids)
        tokens = np.where(masked, contexts.dtype.type(vocabulary.mask_id), contexts)
        places = np.broadcast_to(np.arange(contexts.shape[1]), contexts.shape)
        return Corrupted(tokens, np.where(masked, REPLACED, places))
