"""A control: tokens are removed and the context closes up, so neighbours change but no mask string is seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import ABSENT, Corrupted, Corruption, Ids, Rows, Vocabulary, touched


@dataclass(frozen=True)
class Delete(Corruption, kind="delete", done="deleted"):
    """Each token is removed with probability p. The context is then filled up at its end with copies of its last
    token: no earlier position sees them, and they give no row."""

    def corrupt(self, contexts: Ids, numbers: Sequence[int], seed: int, vocabulary: Vocabulary) -> Corrupted:
        deleted = touched(self.p, contexts, numbers, seed, vocabulary.special_ids)
        # A stable sort by "deleted" moves the kept tokens to the front, in their order.
        order = np.argsort(deleted, axis=1, kind="stable")
        kept = np.arange(contexts.shape[1]) < (~deleted).sum(axis=1, keepdims=True)
        tokens = np.where(kept, np.take_along_axis(contexts, order, axis=1), contexts[:, -1:])
        return Corrupted(tokens, np.where(kept, order, ABSENT))

    def share_of_rows(self, rows: Rows) -> float:
        return 1 - self.p
