"""Streams of activations: contexts of tokens, corrupted or not, through a language model, shuffled into batches.

A block of contexts is the unit of forward pass, of shuffling and of restarting. Everything in it is a function of
(seed, block number), so a stream can start at any block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..jobs.device import to_device
from ..text.tokens import Tokens
from .corruptions.base import ABSENT, NOISE, Ids, uniforms
from .language_models import LanguageModel
from .settings import Stream
from .vocabulary import ModelVocabulary


@dataclass(frozen=True)
class Batching:
    """How a stream's rows are handed out."""

    batch: int  # rows
    block_contexts: int  # contexts that are shuffled together
    lm_batch: int  # contexts in a forward pass
    tf32: bool = False  # whether a float32 model's matrix products may use TF32 on a GPU
    drop_bos: bool = False  # leave out the first position
    max_norm_multiple: float | None = None  # leave out rows whose norm is over this multiple of the block's median


class Buffers(NamedTuple):
    """The rows of one block, in memory that every block uses again."""

    text: torch.Tensor  # in the order of the text
    shuffled: torch.Tensor  # the rows left over from the block before, then this block's, as they are handed out


class ActivationStream:
    """Batches of activations (rows x width), the same in every iteration.

    Batches are views of one buffer. They may be changed in place, and last until the stream is asked for another block,
    by this iteration or another: clone what you keep. dictionary_learning's `trainSAE(data=stream, ...)` takes it as it
    is.

    On a GPU the CPU waits only for the language model's forward pass, and for `max_norm_multiple`, which depends on the
    activations. Which rows are kept otherwise, and in which order, is computed on the CPU.
    """

    def __init__(self, model: LanguageModel, tokens: Tokens, stream: Stream, seed: int, batching: Batching):
        self.model, self.tokens, self.stream, self.seed, self.batching = model, tokens, stream, seed, batching
        self.vocabulary = ModelVocabulary(model.facts, tokens)
        self._buffers: Buffers | None = None
        # The block in `text`, and its number of rows: block 0 is read twice in a row, first for the norm factor.
        self._held: int | None = None
        self._filled = 0

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
            rows = self._shuffle(block, carry)
            whole = len(rows) - len(rows) % size
            # A carry is a copy: a checkpoint may keep it, while the batch that its rows go into may be changed.
            yield block, rows[:0].clone() if carry is None else carry, rows[:whole].split(size) if whole else ()
            carry = rows[whole:].clone()

    def _shuffle(self, block: int, carry: torch.Tensor | None) -> torch.Tensor:
        """`carry`, then the block's rows in an order that depends on seed and block alone."""
        text, kept = self._read(block), None
        if self.batching.max_norm_multiple is not None:
            norms = text.float().norm(dim=-1)
            kept = (norms <= self.batching.max_norm_multiple * norms.median()).nonzero().flatten()
        count = len(text if kept is None else kept)
        seed = np.random.SeedSequence([self.seed, block]).generate_state(1, np.uint64)[0]
        # Drawn on the CPU, so that the order is the same on every device.
        order = torch.randperm(count, generator=torch.Generator().manual_seed(int(seed) % 2**63))
        order = to_device(order, text.device)
        assert self._buffers is not None
        shuffled, first = self._buffers.shuffled, 0 if carry is None else len(carry)
        if carry is not None:
            assert first < self.batching.batch, "more rows than a block leaves over"
            shuffled[:first] = to_device(carry, text.device)
        rows = shuffled[: first + count]
        torch.index_select(text, 0, order if kept is None else kept.index_select(0, order), out=rows[first:])
        return rows

    def _read(self, block: int) -> torch.Tensor:
        """The block's rows in the order of the text, until another block is read."""
        if block != self._held:
            self._held, self._filled = None, 0
            first = block * self.batching.block_contexts
            numbers = range(first, min(first + self.batching.block_contexts, self.tokens.n_train))
            for start in range(0, len(numbers), self.batching.lm_batch):
                self._add(numbers[start : start + self.batching.lm_batch])
            self._held = block
        assert self._buffers is not None
        return self._buffers.text[: self._filled]

    def _add(self, numbers: range) -> None:
        """The rows of the contexts with these numbers, behind those that the buffer has."""
        clean = self.tokens.contexts(numbers.start, numbers.stop)
        places = np.arange(clean.size).reshape(clean.shape)  # of each position's row in a forward pass
        if self.stream.corruption is None:
            self._append(self._residual(clean), places[:, int(self.batching.drop_bos) :].flatten())
            return
        tokens, source = self.stream.corruption.corrupt(clean, numbers, self.seed, self.vocabulary)
        untouched = source >= 0
        kept = untouched.copy() if self.stream.rows == "untouched" else source != ABSENT
        kept[:, : int(self.batching.drop_bos)] = False
        if self.stream.context == "corrupted":
            self._append(self._residual(tokens), places[kept])
            return
        # Rows of untouched tokens from the clean context; where touched ones are kept, theirs from the corrupted one.
        in_clean = np.where(untouched, places[:, :1] + source, places)
        of_clean = self._residual(clean)
        rows = self._append(of_clean, in_clean[kept])
        if (self.stream.context, self.stream.rows) == ("clean", "untouched"):
            return
        of_corrupted = self._residual(tokens)
        if self.stream.rows == "all":
            touched = (~untouched)[kept]
            corrupted = of_corrupted.index_select(0, self._index(places[kept][touched]))
            rows.index_copy_(0, self._index(np.flatnonzero(touched)), corrupted)
        if self.stream.context == "noise":
            there = kept & untouched
            others = np.take_along_axis(places, other_places(there, numbers, self.seed), axis=1)[there]
            noise = of_corrupted.index_select(0, self._index(others))
            noise -= of_clean.index_select(0, self._index(in_clean.flatten()[others]))
            into = self._index(np.flatnonzero(untouched[kept]))
            rows.index_copy_(0, into, rows.index_select(0, into) + noise)

    def _append(self, residual: torch.Tensor, places: Ids) -> torch.Tensor:
        """The rows at these places in a forward pass, as they now are in the buffer."""
        if self._buffers is None:
            # Made at the first pass, which shows the number format: for a block's rows, and for these with what the
            # block before can leave over.
            most = min(self.batching.block_contexts, self.tokens.n_train) * self.tokens.context_length
            sizes = (most, most + self.batching.batch - 1)
            self._buffers = Buffers(*(residual.new_empty((rows, residual.shape[1])) for rows in sizes))
        rows = self._buffers.text[self._filled : self._filled + len(places)]
        torch.index_select(residual, 0, self._index(places), out=rows)
        self._filled += len(places)
        return rows

    def _residual(self, contexts: Ids) -> torch.Tensor:
        """Rows of all positions, context by context."""
        return self.model.residual(torch.from_numpy(contexts), self.batching.tf32).flatten(0, 1)

    def _index(self, places: NDArray[np.int64]) -> torch.Tensor:
        return to_device(torch.from_numpy(places), self.model.device)


def other_places(there: NDArray[np.bool_], numbers: Sequence[int], seed: int) -> Ids:
    """For each position that is `there`, another one of its context that is: the next in a random order of all, so each
    is the other of exactly one. (One that is alone is its own.)"""
    length = there.shape[1]
    order = np.argsort(np.where(there, uniforms(seed, numbers, length, NOISE), 1), axis=1, kind="stable")
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    following = np.take_along_axis(order, (np.arange(length) + 1) % count, axis=1)
    others = np.empty_like(order)
    np.put_along_axis(others, order, following, axis=1)
    return others
