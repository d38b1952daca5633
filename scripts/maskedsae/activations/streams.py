"""Streams of activations: contexts of tokens, corrupted or not, through a language model, shuffled into batches.

A block of contexts is the unit of forward pass, of shuffling and of restarting. Everything in it is a function of
(seed, block number), so a stream can start at any block.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..text.tokens import Tokens
from .corruptions.base import ABSENT, Ids
from .language_models import LanguageModel
from .settings import Stream


@dataclass(frozen=True)
class Batching:
    """How a stream's rows are handed out."""

    batch: int  # rows
    block_contexts: int  # contexts that are shuffled together
    lm_batch: int  # contexts in a forward pass
    drop_bos: bool = False  # leave out the first position
    max_norm_multiple: float | None = None  # leave out rows whose norm is over this multiple of the block's median


class ActivationStream:
    """Batches of activations (rows x width), the same in every iteration.

    dictionary_learning's `trainSAE(data=stream, ...)` takes it as it is.
    """

    def __init__(self, model: LanguageModel, tokens: Tokens, stream: Stream, seed: int, batching: Batching):
        self.model, self.tokens, self.stream, self.seed, self.batching = model, tokens, stream, seed, batching
        self._block0: torch.Tensor | None = None

    @property
    def config(self) -> dict[str, Any]:
        """What dictionary_learning writes beside the SAE as "buffer"."""
        return {
            "model": self.model.name,
            "stream": self.stream.plain(),
            "seed": self.seed,
            "context_length": self.tokens.context_length,
            **asdict(self.batching),
        }

    def __iter__(self) -> Iterator[torch.Tensor]:
        for _, _, batches in self.blocks():
            yield from batches

    def blocks(
        self, start: int = 0, carry: torch.Tensor | None = None
    ) -> Iterator[tuple[int, torch.Tensor, tuple[torch.Tensor, ...]]]:
        """(block, carry, its batches) from block `start` on; `carry` is the rows left over from the block before.

        Stopping before a block and resuming later with its number and carry gives the same batches.
        """
        size = self.batching.batch
        for block in range(start, -(-self.tokens.n_train // self.batching.block_contexts)):
            rows = self._shuffled(block)
            if carry is not None and len(carry):
                rows = torch.cat([carry.to(rows.device), rows])
            whole = len(rows) - len(rows) % size
            # Batches are views of the block's own copy, which trainSAE may scale in place.
            yield block, carry if carry is not None else rows[:0], rows[:whole].split(size) if whole else ()
            carry = rows[whole:].clone()

    def _shuffled(self, block: int) -> torch.Tensor:
        rows = self._rows(block)
        seed = np.random.SeedSequence([self.seed, block]).generate_state(1, np.uint64)[0]
        # Drawn on the CPU, so that the order is the same on every device.
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(int(seed) % 2**63))
        return rows[order.to(rows.device)]

    def _rows(self, block: int) -> torch.Tensor:
        """The block's rows in the order of the text. Block 0 is kept: it is read twice, first for the norm factor."""
        if block == 0 and self._block0 is not None:
            return self._block0
        first = block * self.batching.block_contexts
        numbers = range(first, min(first + self.batching.block_contexts, self.tokens.n_train))
        size = self.batching.lm_batch
        parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        rows = torch.cat([self._forward(part) for part in parts])
        if self.batching.max_norm_multiple is not None:
            norms = rows.float().norm(dim=-1)
            rows = rows[norms <= self.batching.max_norm_multiple * norms.median()]
        self._block0 = rows if block == 0 else None
        return rows

    def _forward(self, numbers: range) -> torch.Tensor:
        """The rows of the contexts with these numbers, in the order of the text."""
        clean, first = self.tokens.contexts(numbers.start, numbers.stop), int(self.batching.drop_bos)
        if self.stream.corruption is None:
            return self._residual(clean)[:, first:].flatten(0, 1)
        tokens, source = self.stream.corruption.corrupt(clean, numbers, self.seed, self.model.facts)
        kept = source >= 0 if self.stream.rows == "untouched" else source != ABSENT
        if self.stream.context == "clean":
            residual = self._clean_where_untouched(clean, tokens, source)
        else:
            residual = self._residual(tokens)
        kept = kept[:, first:]
        residual = residual[:, first:]
        # Most streams keep every row, and need no copy of them.
        return residual.flatten(0, 1) if kept.all() else residual[torch.from_numpy(kept).to(residual.device)]

    def _clean_where_untouched(self, clean: Ids, tokens: Ids, source: Ids) -> torch.Tensor:
        """Rows of untouched tokens from the clean context, and of touched ones, if kept, from the corrupted one."""
        places, residual = torch.from_numpy(source).to(self.model.device), self._residual(clean)
        untouched = residual[torch.arange(len(places), device=places.device)[:, None], places.clamp(min=0)]
        if self.stream.rows == "untouched":
            return untouched
        return torch.where(places[..., None] >= 0, untouched, self._residual(tokens))

    def _residual(self, contexts: Ids) -> torch.Tensor:
        return self.model.residual(torch.from_numpy(contexts))
