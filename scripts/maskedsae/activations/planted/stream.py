"""Rows of a planted truth, as a stream that SAEs learn from."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch

from ...jobs.device import to_device
from ..corruptions.base import uniforms
from ..settings import Stream
from .truth import Draw, Truth


class PlantedStream:
    """Batches of activations (rows x width) without an end, the same in every iteration.

    What a mask does to a language model's rows is done to the truth's, on the same positions. The row of a touched
    position is a filler row, or dropped. Under a corrupted context an untouched row has, with probability
    `planted.broken`, the children of another row: at the same rates, but without their parents. All streams of a seed
    have the same clean rows underneath.
    """

    def __init__(self, truth: Truth, stream: Stream, batch: int, block_rows: int, device: str):
        self.model, self.stream = truth, stream
        self.batch, self.block_rows, self.device = batch, block_rows, device

    @property
    def config(self) -> dict[str, Any]:
        """What dictionary_learning writes beside the SAE as "buffer"."""
        return {
            "model": self.model.name,
            "stream": self.stream.plain(),
            "seed": self.model.seed,
            "context_length": 1,
            "batch": self.batch,
            "block_rows": self.block_rows,
        }

    def __iter__(self) -> Iterator[torch.Tensor]:
        for _, _, batches in self.blocks():
            yield from batches

    def blocks(
        self, start: int = 0, carry: torch.Tensor | None = None
    ) -> Iterator[tuple[int, torch.Tensor, tuple[torch.Tensor, ...]]]:
        """(block, carry, its batches) from block `start` on, as ActivationStream has them."""
        for block in count(start):
            new = to_device(self.rows(block), self.device)
            rows = new if carry is None else torch.cat([to_device(carry, self.device), new])
            whole = len(rows) - len(rows) % self.batch
            yield block, rows[:0].clone() if carry is None else carry, rows[:whole].split(self.batch) if whole else ()
            carry = rows[whole:].clone()

    def rows(self, block: int) -> torch.Tensor:
        """A block's rows. They are independent of each other, so their order needs no shuffling."""
        truth, corruption = self.model, self.stream.corruption
        features = truth.features(self.block_rows, Draw.ROWS, block)
        if corruption is None:
            return truth.activations(features)
        one, other = torch.from_numpy(uniforms(truth.seed, [block], 2 * self.block_rows)[0]).split(self.block_rows)
        touched = one < corruption.p
        if self.stream.context == "corrupted":
            broken = other < (truth.planted.broken if corruption.p else 0.0)
            children = truth.families.flatten()
            others = truth.features(self.block_rows, Draw.OTHER_ROWS, block)
            features[:, children] = torch.where(broken[:, None], others[:, children], features[:, children])
        rows = truth.activations(features)
        if self.stream.rows == "untouched":
            return rows[~touched]
        return torch.where(touched[:, None], truth.filler(self.block_rows, Draw.NOISE, block), rows)
