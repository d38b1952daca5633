"""What baseline SAEs would score at the l0 that a corrupted SAE has on clean text: is it masking, or only sparsity?"""

from collections.abc import Sequence

import numpy as np

from ..saes.cells import Cell
from ..scores.metrics import ACHIEVED_L0
from ..scores.table import Scores

TOLERANCE = 0.05  # the report points out an l0 on clean text that differs more than this from the nominal one


def at_l0(l0: float, known_l0s: Sequence[float], values: Sequence[float]) -> float | None:
    """`values` at `known_l0s`, interpolated in log l0; None outside their range, since nothing is extrapolated."""
    order = np.argsort(known_l0s)
    known, known_values = np.asarray(known_l0s)[order], np.asarray(values)[order]
    if not 0 < known[0] <= l0 <= known[-1]:
        return None
    return float(np.interp(np.log(l0), np.log(known), known_values))


def baseline_at_l0_of(cell: Cell, baselines: Sequence[Cell], metric: str, scores: Scores) -> float | None:
    """The score of `baselines` (one seed, several l0s) at the l0 that `cell` has on clean text."""
    l0s, values = ([scores.value(baseline, key) for baseline in baselines] for key in (ACHIEVED_L0, metric))
    return at_l0(scores.value(cell, ACHIEVED_L0), l0s, values)
