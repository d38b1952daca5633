"""Masking, or only sparsity? The question asked of the paper's printed numbers alone.

The paper gives no l0 on clean text, so this one is assumed: l0 / (1 - p), as if masked positions left all their latents
to the others. One SAE stands behind each number: there are no intervals, and nothing here is a test.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .equal_l0 import at_l0
from .published import Published


@dataclass(frozen=True)
class PrintedGain:
    """What a masked SAE of the paper gains, in points: at its nominal l0, and at the one that it may really have."""

    table: str
    model: str
    metric: str  # its label
    p: float
    l0: int  # nominal
    nominal: float  # over the unmasked SAE of this l0, in the same table
    assumed_l0: float  # l0 / (1 - p)
    matched: float | None  # over the unmasked SAEs' curve at the assumed l0; None beyond the curve
    implied_l0: float | None  # where that curve has the masked SAE's score; None beyond it, or if the curve turns


def printed_gains(published: Published) -> list[PrintedGain]:
    """For each masked SAE of Tables 1-3. Curves are in log l0, from the table of the model that has several l0s."""
    found = []
    for table in published.tables:
        source = published.table(table.model, "l0")
        assert source is not None
        for (metric, p, l0), printed in table.values.items():
            if p == 0:
                continue
            curve = {at: float(text) for (name, q, at), text in source.values.items() if (name, q) == (metric, 0)}
            l0s, values = list(curve), list(curve.values())
            score, assumed = float(printed), l0 / (1 - p)
            expected = at_l0(assumed, l0s, values)
            gain = PrintedGain(
                *(table.name, table.model, metric, p, l0),
                nominal=score - float(table.values[metric, 0, l0]),
                assumed_l0=assumed,
                matched=None if expected is None else score - expected,
                implied_l0=_l0_at(score, l0s, values),
            )
            found.append(gain)
    return found


def _l0_at(score: float, l0s: list[int], values: list[float]) -> float | None:
    """The l0 at which a curve has this score."""
    if any(after <= before for before, after in pairwise(values)):
        return None
    if not values[0] <= score <= values[-1]:
        return None
    return float(np.exp(np.interp(score, values, np.log(l0s))))
