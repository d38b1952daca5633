"""Which tokens are masked: one fixed uniform number for each (seed, context, position).

A token is masked iff its number is below p. So p = 0 is the untouched text, the masks of a smaller p are contained in
those of a larger one (paired comparisons of streams, with less noise), and no batch size, block size, worker count or
restart changes them.
"""

import numpy as np


def uniforms(seed: int, first: int, contexts: int, length: int) -> np.ndarray:
    """u[c, t] in [0, 1) for contexts first, first + 1, ... and positions 0 ... length - 1.

    Philox is a counter-based generator: keyed by (seed, context), its n-th output is a pure function of n. The raw
    output is used, since NumPy promises stability for bit generators only; its top 53 bits make a float64 exactly.
    """
    rows = (np.random.Philox(key=[seed, context]).random_raw(length) for context in range(first, first + contexts))
    raw = np.stack(list(rows)) if contexts else np.empty((0, length), np.uint64)
    return (raw >> np.uint64(11)) * 2.0**-53


def mask_tokens(tokens: np.ndarray, first: int, p: float, seed: int, mask_id: int, keep: list[int]) -> np.ndarray:
    """`tokens` (contexts x positions; the first row is context number `first`) with masked ones replaced by `mask_id`.

    Tokens in `keep` (BOS, EOS, padding) are structure, not text, and are never masked.
    """
    if p == 0:
        return tokens
    masked = (uniforms(seed, first, *tokens.shape) < p) & ~np.isin(tokens, keep)
    return np.where(masked, tokens.dtype.type(mask_id), tokens)
