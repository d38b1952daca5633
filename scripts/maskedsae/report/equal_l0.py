"""What unmasked SAEs would score at the sparsity that a masked one really has: is it masking, or only sparsity?"""

from collections.abc import Sequence

import numpy as np

TOLERANCE = 0.05  # an l0 on clean text that is further off the nominal one is warned of


def at_l0(l0: float, known_l0s: Sequence[float], values: Sequence[float]) -> float | None:
    """`values` at `known_l0s`, interpolated in log l0; None outside of them: what is not known is not guessed."""
    order = np.argsort(known_l0s)
    known, values = np.asarray(known_l0s)[order], np.asarray(values)[order]
    if not 0 < known[0] <= l0 <= known[-1]:
        return None
    return float(np.interp(np.log(l0), np.log(known), values))
