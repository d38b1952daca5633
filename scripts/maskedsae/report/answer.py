"""The page's opening: what the run answers, the contrasts behind it, and what was declared beforehand."""

from collections.abc import Sequence
from typing import Any

from ..inference.contrasts import Contrast
from ..inference.decisions import ADDS, BETTER, EQUAL, HARMS, NO_GAIN, NOT_HERE, NOT_JUDGED, SUFFICES, UNDECIDED, WORSE
from ..inference.questions import headline, metric_of, question, questions
from ..inference.settings import Shown
from ..inference.verdicts import AS_CLAIMED, NOT_TESTED, OPPOSITE
from .contents import CONTRASTS
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
    SUFFICES: "Sparsity suffices (a baseline of the same l0 scores the same, within the margin):",
    HARMS: "Masking harms (a baseline of the same l0 scores better):",
    NO_GAIN: "There is no gain to explain (within the margin at equal nominal l0 and at equal l0):",
    UNDECIDED: "Undecided:",
    NOT_HERE: "Cannot be decided here, since this run does not show what is known of the score:",
}

# The columns of the page's table.
COLUMNS = {name: words for name, words in CONTRASTS.items() if name not in ("matched_there", "rest")}


def answer(verdicts: dict[str, Any], shown: Shown) -> str:
    """In one paragraph: does masking add to sparsity?"""
    least, seeds = shown.analysis.least_seeds, verdicts["data_seeds"]
    if not verdicts["decisions"] or not (shown.tables or shown.analysis.arms):
        return "This run compares no masked SAE with a baseline, so it decides nothing."
    if seeds < least:
        many = f"{seeds} data seed{'s' if seeds > 1 else ''}"
        return (
            f"Undecided: this run has {many}, and a verdict needs at least {least}. The numbers describe these SAEs "
            "and say nothing about others."
        )
    parts = []
    for model, (asked, decisions) in _headlines(verdicts["decisions"], shown).items():
        said = []
        for verdict, words in SAID.items():
            named = [_label(shown, decision["endpoint"]) for decision in decisions if decision["verdict"] == verdict]
            said += [f"{words} {', '.join(named)}."] if named else []
        parts.append(f"{model} ({asked}): {' '.join(said)}")
    return f"{' '.join(parts)} ({shown.trainers[0].name}, {seeds} data seeds.)"


def _headlines(decisions: Sequence[dict[str, Any]], shown: Shown) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """{model: (question, its decisions)}, of the first trainer."""
    found = {}
    for model in shown.models:
        if place := headline(shown, model.name):
            stream, l0 = place
            asked = question(shown, model.name, shown.trainers[0].name, "", stream.name, l0).name
            key = (model.name, shown.trainers[0].name, asked)
            own = [d for d in decisions if (d["model"], d["trainer"], d["question"]) == key]
            found[model.name] = asked, [d for d in own if d["endpoint"] in shown.analysis.endpoints]
    return found


def table(verdicts: dict[str, Any], contrasts: Sequence[Contrast], shown: Shown) -> list[dict[str, Any]]:
    """A row for each declared question; what claims ask besides is beside the claims."""
    known = {(row.model, row.trainer, row.endpoint, row.question, row.contrast): row for row in contrasts}
    asked = {(each.model, each.trainer, each.endpoint, each.name) for each in questions(shown)}
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
            "contrasts": [_interval(known[*key, name]) for name in columns(contrasts)],
            "verdict": decision["verdict"],
            "chip": CHIPS[decision["verdict"]],
            "why": decision["why"],
        }
        rows.append(row)
        before = about
    return rows


def columns(contrasts: Sequence[Contrast]) -> list[str]:
    """The contrasts that this run has at all."""
    return [name for name in COLUMNS if any(row.contrast == name and row.n for row in contrasts)]


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
                "assays": _assays(assays, shown),
                "needed": f"{max(needed):,}" if needed else "—",
            }
        )
    return rows


def _assays(assays: Sequence[dict[str, Any]], shown: Shown) -> list[dict[str, str]]:
    """With the model in front where not all models have this very line."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for assay in assays:
        what = assay["what"]
        if assay["kind"] == "trainer" and not assay["n"]:
            what = " - ".join(shown.analysis.assay or ())
        elif len(shown.trainers) == 1:
            what = what.replace(f" ({shown.trainers[0].name})", "")
        if assay["p"] is None:
            seen = "not made", "plain", assay["why"]
        else:
            chip = ("shown", "good") if assay["passed"] else ("not shown", "bad")
            seen = *chip, f"{signed(rounded(assay['mean'], 2))}, p = {assay['p']:.2g}"
        found.setdefault((f"{what}: {assay['known']}", *seen), {})[assay["model"]] = None  # once for several trainers
    rows = []
    for (what, word, color, words), models in found.items():
        of = "" if len(models) == len(shown.models) else f"{', '.join(models)}: "
        rows.append({"what": of + what, "word": word, "chip": color, "found": words})
    return rows


def families(contrasts: Sequence[Contrast]) -> str:
    """How many tests each family has, at most."""
    sizes: dict[str, int] = {}
    for row in contrasts:
        if row.tests:
            sizes[row.family] = max(sizes.get(row.family, 0), row.tests)
    found = [f"{family}: up to {size}" for family, size in sizes.items()]
    return f"tests in a family: {'; '.join(found)}" if found else "no test here"


def _label(shown: Shown, endpoint: str) -> str:
    return metric_of(shown, endpoint).label
