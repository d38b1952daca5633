"""The active latents of a batch on a CPU, and the sums over them that stand in for dense products."""

import warnings

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from .selection import Array

warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")


class Active:
    """Sorted by group, row and latent."""

    def __init__(self, places: Array, post: torch.Tensor, group_of: Array, groups: int):
        """`places`: in the flattened `post` (rows x latents), sorted. `group_of`: each latent's group."""
        self.batch, self.width = post.shape
        rows, latents = np.divmod(places, self.width)
        order = sorting(group_of[latents], groups)
        self.values = post.flatten()[torch.from_numpy(places[order])]
        self.rows, self.latents = torch.from_numpy(rows[order]), torch.from_numpy(latents[order])
        # A bag for each group of each row.
        self.bags = torch.from_numpy(group_of[latents[order]] * self.batch + rows[order])
        self.starts = starts(self.bags.numpy(), groups * self.batch)
        self._by_latent = torch.from_numpy(sorting(self.latents.numpy(), self.width))
        self._starts_by_latent = starts(self.latents.numpy(), self.width)

    @property
    def anywhere(self) -> torch.Tensor:
        """Whether each latent is active in some row."""
        return self._starts_by_latent.diff() > 0

    def decoded(self, group: int, decoder: torch.Tensor) -> torch.Tensor:
        """What a group adds to each row's reconstruction."""
        bounds = self.starts[group * self.batch : (group + 1) * self.batch + 1]
        mine = slice(int(bounds[0]), int(bounds[-1]))
        return _sums(decoder, self.latents[mine], self.values[mine], bounds - bounds[0])

    def products(self, by_bag: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
        """Of each active latent's row of the decoder with its bag's row of `by_bag`."""
        zeros = torch.zeros_like(self.values)
        wanted = torch.sparse_csr_tensor(
            self.starts, self.latents, zeros, (len(by_bag), self.width), check_invariants=False
        )
        products: torch.Tensor = torch.sparse.sampled_addmm(wanted, by_bag, decoder.t(), beta=0.0).values()
        return products

    def sums_by_latent(self, table: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """For each latent the sum of rows of the table over where it is active, weighted; `rows` says which ones."""
        order = self._by_latent
        return _sums(table, rows[order], weights[order], self._starts_by_latent)

    def totals(self, weights: torch.Tensor) -> torch.Tensor:
        """For each latent the sum of the weights of where it is active."""
        totals = np.bincount(self.latents.numpy(), weights.numpy(), minlength=self.width)
        return torch.from_numpy(totals).to(weights.dtype)


def sorting(numbers: Array, count: int) -> Array:
    """The order that sorts numbers under `count`; NumPy sorts those of 16 bits by counting."""
    return numbers.astype(np.uint16 if count <= 2**16 else np.uint32).argsort(kind="stable")


def starts(bags: Array, count: int) -> torch.Tensor:
    """Where each bag starts, once sorted, and the end of the last."""
    ends = np.bincount(bags, minlength=count).cumsum()
    return torch.from_numpy(np.concatenate([[0], ends]))


def _sums(table: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """For each bag the weighted sum of its rows of the table."""
    return embedding_bag(rows, table, bounds, mode="sum", per_sample_weights=weights, include_last_offset=True)
