"""The page's section on the paper's printed numbers: gains at equal nominal l0 and at l0 / (1 - p)."""

from itertools import groupby
from typing import Any

from ..inference.printed import PrintedGain, printed_gains
from ..inference.published import Published
from .tables import rounded
from .writers import signed


def printed_section(published: Published) -> dict[str, Any]:
    """A row for each metric and p of a table, with a column for each l0; and how often masking gains, by Tables 1-2."""
    gains = printed_gains(published)
    rows = [
        {
            "table": f"{model}, {table.replace('table', 'Table ')}",
            "metric": metric,
            "p": f"{p:g}",
            "cells": {gain.l0: _cell(gain) for gain in row},
        }
        for (table, model, metric, p), row in groupby(gains, lambda gain: (gain.table, gain.model, gain.metric, gain.p))
    ]
    by_l0 = {table.name for table in published.tables if table.columns == "l0"}
    both = [gain for gain in gains if gain.matched is not None and gain.table in by_l0]
    return {
        "rows": rows,
        "l0s": sorted({gain.l0 for gain in gains}),
        "compared": len(both),
        "nominal": sum(gain.nominal > 0 for gain in both),
        "matched": sum(gain.matched > 0 for gain in both if gain.matched is not None),
    }


def _cell(gain: PrintedGain) -> dict[str, str]:
    return {
        "nominal": signed(rounded(gain.nominal, 2)),
        "matched": "—" if gain.matched is None else signed(rounded(gain.matched, 2)),
        "implied": "—" if gain.implied_l0 is None else f"{gain.implied_l0:.1f}",
    }
