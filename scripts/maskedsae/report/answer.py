"""The page's opening: what the run answers, the contrasts behind it, and what was declared beforehand."""

from collections.abc import Sequence
from typing import Any

from ..inference.contrasts import Contrast, metric_of, questions
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
    SUFFICES: "Sparsity suffices, a baseline of the same l0 scores as well:",
    HARMS: "Masking harms, a baseline of the same l0 scores better:",
    NO_GAIN: "There is no gain to explain:",
    UNDECIDED: "Undecided:",
    NOT_HERE: "Cannot be decided here, since this run does not show what is known of the score:",
}

# What each column of the page's table is.
COLUMNS = {
    "nominal": "at equal nominal l0",
    "matched": "at equal measured l0",
    "budget": "budget",
    "beyond_budget": "beyond budget",
    "context": "context",
    "control": "under the control",
}


def answer(verdicts: dict[str, Any], shown: Shown) -> str:
    """In one paragraph: does masking add to sparsity? For the first trainer, at each model's smallest nominal l0."""
    least, seeds = shown.analysis.least_seeds, verdicts["data_seeds"]
    if not verdicts["decisions"]:
        return "This run compares no masked SAE with a baseline, so it decides nothing."
    if seeds < least:
        many = f"{seeds} data seed{'s' if seeds > 1 else ''}"
        return (
            f"Undecided: this run has {many}, and a verdict needs at least {least}. What follows describes these SAEs "
            "and says nothing about others."
        )
    sentences, asked = [], []
    for model, decisions in _first_of_each(verdicts["decisions"], shown).items():
        of_model = f"{model}: " if len(shown.models) > 1 else ""
        for verdict, words in SAID.items():
            named = [_label(shown, decision["endpoint"]) for decision in decisions if decision["verdict"] == verdict]
            sentences += [f"{of_model}{words} {', '.join(named)}."] if named else []
        asked.append(decisions[0]["question"])
    about = f"{shown.trainers[0].name}, {', '.join(dict.fromkeys(asked))}, {seeds} data seeds"
    return f"{' '.join(sentences)} ({about}.)"


def _first_of_each(decisions: Sequence[dict[str, Any]], shown: Shown) -> dict[str, list[dict[str, Any]]]:
    """{model: the first question's decision on each endpoint}."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for decision in decisions:
        if decision["trainer"] == shown.trainers[0].name and decision["endpoint"] in shown.analysis.endpoints:
            found.setdefault(decision["model"], {}).setdefault(decision["endpoint"], decision)
    return {model: list(by_endpoint.values()) for model, by_endpoint in found.items()}


def table(verdicts: dict[str, Any], contrasts: Sequence[Contrast], shown: Shown) -> list[dict[str, Any]]:
    """A row for each declared question; what claims ask besides is beside the claims."""
    known = {(row.model, row.trainer, row.endpoint, row.question, row.contrast): row for row in contrasts}
    asked = {(question.model, question.trainer, question.endpoint, question.name) for question in questions(shown)}
    rows: list[dict[str, Any]] = []
    before = None
    for decision in verdicts["decisions"]:
        key = (decision["model"], decision["trainer"], decision["endpoint"], decision["question"])
        if key not in asked:
            continue
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
    return f"{len(sizes)} families of up to {largest} tests each" if sizes else "no test, since there is one data seed"


def _label(shown: Shown, endpoint: str) -> str:
    return metric_of(shown, endpoint).label
