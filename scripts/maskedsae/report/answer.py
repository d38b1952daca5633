"""The page's opening: what the run answers, the contrasts behind it, and what was declared beforehand."""

from collections.abc import Sequence
from typing import Any

from ..inference.contrasts import Contrast, masked, metric_of
from ..inference.decisions import ADDS, BETTER, EQUAL, HARMS, NO_GAIN, NOT_HERE, SUFFICES, UNDECIDED, WORSE
from ..inference.settings import Shown
from ..inference.verdicts import AS_CLAIMED, NOT_JUDGED, NOT_TESTED, OPPOSITE
from .tables import rounded
from .writers import signed

# The colour of each verdict.
CHIPS = {
    **dict.fromkeys((ADDS, AS_CLAIMED, BETTER), "good"),
    **dict.fromkeys((HARMS, OPPOSITE, WORSE), "bad"),
    **dict.fromkeys((SUFFICES, NO_GAIN, NOT_HERE, EQUAL), "warn"),
    **dict.fromkeys((UNDECIDED, NOT_TESTED, NOT_JUDGED), "plain"),
}

# Each verdict at equal l0, as the beginning of a sentence about scores.
SAID = {
    ADDS: "Masking adds to what its sparsity would give:",
    SUFFICES: "Sparsity suffices (a baseline of the same l0 scores as well, within the margin):",
    HARMS: "Masking harms (a baseline of the same l0 scores better):",
    NO_GAIN: "No gain at equal nominal l0 was shown, and at equal l0 there is none (within the margin):",
    UNDECIDED: "Undecided:",
    NOT_HERE: "Cannot be decided here, since this run does not show what is known of the score:",
}

# What each column of the page's table is.
COLUMNS = {
    "nominal": "at equal nominal l0",
    "matched": "at equal l0",
    "budget": "budget",
    "beyond_budget": "beyond budget",
    "context": "context",
    "control": "under the control trainer",
}


def answer(verdicts: dict[str, Any], shown: Shown) -> str:
    """In one paragraph: does masking add to sparsity?"""
    least, seeds = shown.analysis.least_seeds, verdicts["data_seeds"]
    if not verdicts["decisions"]:
        return "This run compares no masked SAE with a baseline, so it decides nothing."
    if seeds < least:
        many = f"{seeds} data seed{'s' if seeds > 1 else ''}"
        return (
            f"Undecided: this run has {many}, and a verdict needs at least {least}. What follows describes these SAEs "
            "and says nothing about others."
        )
    parts = []
    for model, (question, decisions) in _headlines(verdicts["decisions"], shown).items():
        said = []
        for verdict, words in SAID.items():
            named = [_label(shown, decision["endpoint"]) for decision in decisions if decision["verdict"] == verdict]
            said += [f"{words} {', '.join(named)}."] if named else []
        parts.append(f"{model} ({question}): {' '.join(said)}")
    return f"{' '.join(parts)} ({shown.trainers[0].name}, {seeds} data seeds.)"


def _headlines(decisions: Sequence[dict[str, Any]], shown: Shown) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """{model: (question, its decisions)}: of the first trainer, at the smallest nominal l0, on the stream that all of
    the model's tables show, or else the first."""
    found = {}
    for model in shown.models:
        tables = [table for table in shown.tables if table.model == model.name]
        asked = masked(shown, model.name)
        asked.sort(key=lambda place: (not all(place[0].name in table.streams for table in tables), place[1]))
        if asked and shown.baseline is not None:
            (stream, l0), baseline = asked[0], shown.baseline.name
            question = f"{stream.name}@{l0} - {baseline}@{l0}"
            key = (model.name, shown.trainers[0].name, question)
            own = [d for d in decisions if (d["model"], d["trainer"], d["question"]) == key]
            found[model.name] = question, [d for d in own if d["endpoint"] in shown.analysis.endpoints]
    return found


def table(verdicts: dict[str, Any], contrasts: Sequence[Contrast], shown: Shown) -> list[dict[str, Any]]:
    """A row for each declared question; what claims ask besides is beside the claims."""
    known = {(row.model, row.trainer, row.endpoint, row.question, row.contrast): row for row in contrasts}
    rows: list[dict[str, Any]] = []
    before = None
    for decision in verdicts["decisions"]:
        if decision["endpoint"] not in shown.analysis.endpoints:
            continue
        key = (decision["model"], decision["trainer"], decision["endpoint"], decision["question"])
        about = (decision["model"], decision["trainer"], decision["question"])
        row = {
            "about": ", ".join(about) if about != before else "",
            "label": _label(shown, decision["endpoint"]),
            "n": known[*key, "nominal"].n,
            "contrasts": [_interval(known[*key, name]) for name in COLUMNS],
            "verdict": decision["verdict"],
            "chip": CHIPS[decision["verdict"]],
            "why": decision["why"],
        }
        rows.append(row)
        before = about
    return rows


def _interval(row: Contrast) -> dict[str, str]:
    if not row.n:
        return {"mean": "—", "interval": "", "why": row.missing}
    bounds = "" if row.n < 2 else " to ".join(signed(rounded(bound, 2)) for bound in (row.low, row.high))
    return {"mean": signed(rounded(row.mean, 2)), "interval": bounds, "why": ""}


def declared(verdicts: dict[str, Any], contrasts: Sequence[Contrast], shown: Shown) -> list[dict[str, Any]]:
    """Each endpoint with its margin, its assays, and the data seeds that this run's spread calls for."""
    first = shown.trainers[0].name
    rows = []
    for name, endpoint in shown.analysis.endpoints.items():
        if not any(row.endpoint == name for row in contrasts):
            continue  # a score that no model of this run has
        needed = [
            row.seeds_needed
            for row in contrasts
            if (row.endpoint, row.trainer, row.contrast) == (name, first, "matched") and row.n > 1
        ]
        assays = [assay for assay in verdicts["assays"] if assay["endpoint"] == name]
        rows.append(
            {
                "label": _label(shown, name),
                "margin": f"{endpoint.margin:g}",
                "assays": [
                    {
                        "what": f"{assay['what']}: known to be {assay['known']}",
                        "found": "not made: " + assay["why"]
                        if assay["p"] is None
                        else f"{signed(rounded(assay['mean'], 2))}, p = {assay['p']:.2g}",
                        "passed": assay["passed"],
                    }
                    for assay in assays
                ],
                "needed": f"{max(needed):,}" if needed else "—",
            }
        )
    return rows


def families(contrasts: Sequence[Contrast]) -> str:
    """How many tests each family has."""
    sizes = {(row.trainer, row.contrast): row.family for row in contrasts if row.family}
    largest = max(sizes.values(), default=0)
    return (
        f"{len(sizes)} families of up to {largest} tests each"
        if sizes
        else "no test: one data seed, or nothing to compare"
    )


def _label(shown: Shown, endpoint: str) -> str:
    return metric_of(shown, endpoint).label
