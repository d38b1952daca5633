"""The audits of a run's SAEs, for the page: one line for each SAE, one column for each point."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..jobs.files import read_json
from ..saes.cells import Cell
from ..scores.audit.points import POINTS
from .tables import rounded
from .writers import signed

Audits = dict[Cell, list[dict[str, Any]]]


def read_audits(paths: Sequence[str]) -> Audits:
    """Each SAE's audits, from the first to that of the finished SAE."""
    return {Cell.parse(path): list(read_json(Path(path))["audits"]) for path in paths}


def line(audits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each point says of the finished SAE, and how many of the earlier audits it objected to."""
    *earlier, last = audits
    return [
        {
            "words": words(name, last["points"][name]),
            "why": last["points"][name].get("why", ""),
            "fires": last["points"][name].get("fires", False),
            "before": sum(name in audit["fires"] for audit in earlier),
            "of": len(earlier),
        }
        for name in POINTS
    ]


def words(name: str, point: dict[str, Any]) -> str:
    """Its value: a share, a rise over its baseline, or a number."""
    if not point["applies"]:
        return "—"
    value, baseline = point["value"], point.get("baseline")
    if name == "checksums":
        return "differ" if value else "agree"
    if baseline is not None:
        return signed(rounded(100 * (value / baseline - 1), 0)) + "%" if baseline else f"{100 * value:.1f}% from 0"
    return f"{100 * value:.1f}%" if name in ("dead", "masked") else f"{value:.2g}"


def count(audits: Audits) -> str:
    """In a sentence: how many SAEs each point objects to in the end."""
    ends = [found[-1] for found in audits.values()]
    found = {POINTS[name]: sum(name in end["fires"] for end in ends) for name in POINTS}
    words = ", ".join(f"{point} for {number}" for point, number in found.items() if number)
    return (
        f"Of {len(ends)} finished SAEs it objects to {words}." if words else f"It objects to none of {len(ends)} SAEs."
    )
