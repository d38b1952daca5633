"""Streams of activations: contexts of tokens, masked or not, through a language model, shuffled into batches.

A block of contexts is the unit of forward pass, of shuffling and of restarting. Everything in it is a function of
(seed, block number), so a stream can start at any block.
"""

from collections.abc import Iterator

import numpy as np
import torch

from .masks import mask_tokens
from .models import LanguageModel
from .tokens import Tokens


class ActivationStream:
    """Batches of activations (rows x width), the same ones at every iteration.

    dictionary_learning's `trainSAE(data=stream, ...)` takes it as it is.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokens: Tokens,
        *,
        name: str,
        p: float,
        mask_id: int,
        special_ids: list[int],
        seed: int,
        batch: int,
        block_contexts: int,
        lm_batch: int,
        drop_bos: bool = False,
        max_norm_multiple: float | None = None,
    ):
        self.model, self.tokens, self.name = model, tokens, name
        self.p, self.mask_id, self.special_ids, self.seed = p, mask_id, special_ids, seed
        self.batch, self.block_contexts, self.lm_batch = batch, block_contexts, lm_batch
        self.drop_bos, self.max_norm_multiple = drop_bos, max_norm_multiple
        self._block0: torch.Tensor | None = None

    @property
    def config(self) -> dict:
        """What dictionary_learning writes beside the SAE as "buffer"."""
        return {
            "model": self.model.name,
            "stream": self.name,
            "p": self.p,
            "mask_id": self.mask_id,
            "seed": self.seed,
            "context_length": self.tokens.context_length,
            "batch": self.batch,
            "block_contexts": self.block_contexts,
            "lm_batch": self.lm_batch,
            "drop_bos": self.drop_bos,
            "max_norm_multiple": self.max_norm_multiple,
        }

    def __iter__(self) -> Iterator[torch.Tensor]:
        for _, _, batches in self.blocks():
            yield from batches

    def blocks(
        self, start: int = 0, carry: torch.Tensor | None = None
    ) -> Iterator[tuple[int, torch.Tensor, tuple[torch.Tensor, ...]]]:
        """(block, carry, its batches) from block `start` on; `carry` are the rows left over from the block before.

        Stopping before a block and going on later with its number and its carry gives the same batches.
        """
        total = -(-self.tokens.n_train // self.block_contexts)
        for block in range(start, total):
            rows = self._shuffled(block)
            if carry is not None and len(carry):
                rows = torch.cat([carry.to(rows.device), rows])
            whole = len(rows) - len(rows) % self.batch
            # Batches are views of the block's own copy, which trainSAE may scale in place.
            yield block, carry if carry is not None else rows[:0], rows[:whole].split(self.batch) if whole else ()
            carry = rows[whole:].clone()

    def _shuffled(self, block: int) -> torch.Tensor:
        rows = self._rows(block)
        seed = np.random.SeedSequence([self.seed, block]).generate_state(1, np.uint64)[0]
        # Drawn on the CPU, so that the order is the same on every device.
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(int(seed) % 2**63))
        return rows[order.to(rows.device)]

    def _rows(self, block: int) -> torch.Tensor:
        """The block's activations in the order of the text. Block 0 is kept: it is read twice, first for its scale."""
        if block == 0 and self._block0 is not None:
            return self._block0
        first = block * self.block_contexts
        contexts = self.tokens.contexts(first, min(first + self.block_contexts, self.tokens.n_train))
        contexts = mask_tokens(contexts, first, self.p, self.seed, self.mask_id, self.special_ids)
        rows = torch.cat([self._forward(batch) for batch in torch.from_numpy(contexts).split(self.lm_batch)])
        if self.max_norm_multiple is not None:
            norms = rows.float().norm(dim=-1)
            rows = rows[norms <= self.max_norm_multiple * norms.median()]
        if block == 0:
            self._block0 = rows
        elif self._block0 is not None:
            self._block0 = None
        return rows

    def _forward(self, contexts: torch.Tensor) -> torch.Tensor:
        residual = self.model.residual(contexts)
        return residual[:, 1 if self.drop_bos else 0 :].flatten(0, 1)
