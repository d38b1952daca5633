"""A control: tokens are taken out and the context closes up, so the neighbours change and nothing stands for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import ABSENT, Corrupted, Corruption, Ids, Rows, Vocabulary, touched


@dataclass(frozen=True)
class Delete(Corruption, kind="delete", done="deleted"):
    """Each token is removed with probability p. What a context is short of then is filled up at its end with its last
    token, where no earlier position can see it, and gives no row."""

    def corrupt(self, contexts: Ids, numbers: Sequence[int], seed: int, vocabulary: Vocabulary) -> Corrupted:
        deleted = touched(self.p, contexts, numbers, seed, vocabulary.special_ids)
        # A stable sort by "deleted" moves what is left to the front and keeps its order.
        order = np.argsort(deleted, axis=1, kind="stable")
        left = np.arange(contexts.shape[1]) < (~deleted).sum(axis=1, keepdims=True)
        tokens = np.where(left, np.take_along_axis(contexts, order, axis=1), contexts[:, -1:])
        return Corrupted(tokens, np.where(left, order, ABSENT))

    def share_of_rows(self, rows: Rows) -> float:
        return 1 - self.p
