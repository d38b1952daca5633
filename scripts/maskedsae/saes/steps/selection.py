"""Which latents are active, on a CPU: the largest of a batch, found without sorting all of it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]

# Candidates are the values over this share of the smallest one that the last step chose. Any share gives the same
# choice: too low a one leaves more candidates; too high a one leaves too few, and then all values are searched.
MARGIN = 0.9


class LargestOfBatch:
    """Finds the k largest values a row, on average over a batch: of equal ones those that torch.topk takes."""

    def __init__(self) -> None:
        self._smallest = 0.0  # that the last step chose. It only says where to look: the choice does not depend on it
        self._over = np.empty(0, bool)  # memory that every step uses again

    def __call__(self, post: torch.Tensor, k: int) -> Array:
        """Their places in `post` (rows x latents, none negative), flattened. Zeros are left out: they do nothing."""
        count, flat = k * len(post), post.numpy().ravel()
        places = self._places_over(flat, MARGIN * self._smallest)
        if len(places) < count and self._smallest > 0:
            places = self._places_over(flat, 0.0)
        if len(places) <= count:
            return places
        values = flat[places]
        smallest = np.partition(values, len(values) - count)[len(values) - count]
        self._smallest = float(smallest)
        kept = places[~(values < smallest)]  # also NaN, which counts as the largest
        return kept if len(kept) == count else np.sort(post.flatten().topk(count, sorted=False).indices.numpy())

    def _places_over(self, flat: Array, bound: float) -> Array:
        """Also those of NaN: the loss must show it."""
        if self._over.shape != flat.shape:
            self._over = np.empty(flat.shape, bool)
        np.less_equal(flat, bound, out=self._over)
        np.logical_not(self._over, out=self._over)
        return np.flatnonzero(self._over)


def largest_of_each_row(post: torch.Tensor, k: int) -> Array:
    """Places of the k largest values of each row; zeros are among them, and dictionary_learning's TopK counts these as
    active."""
    latents = post.topk(k, sorted=False).indices.numpy()
    return np.sort((latents + post.shape[1] * np.arange(len(post))[:, None]).ravel())
