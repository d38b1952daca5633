"""Contrasts between arms: what masking changes at equal nominal l0, and what of it is left at equal sparsity.

docs/inference.md defines each. All are paired by data seed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from math import nan
from pathlib import Path
from typing import Any

from ..jobs.files import write_bytes
from ..scores.table import Scores
from .arms import MissingError, Values
from .differences import MATCHED, Differences
from .questions import Question, questions
from .settings import Shown
from .statistics import estimate, holm, seeds_needed

# In the order of a report. NOMINAL is the paper's comparison; each of EVIDENCE estimates what masking adds to sparsity.
NOMINAL = "nominal"
EVIDENCE = ("matched", "beyond_budget", "context", "control")
CONTRASTS = (NOMINAL, *MATCHED, "budget", "beyond_budget", "context", "rest", "control", "less_control")

# Which tests are corrected together: of declared questions about masks as the paper's, of those about other
# corruptions, and of what only the paper's claims ask.
MASKS, CONTROL_STREAMS, CLAIMS = "masks", "control streams", "claims"


@dataclass(frozen=True)
class Contrast:
    """A row of contrasts.csv, in points; higher is better for every endpoint. `missing` says why there is no number."""

    run: str
    model: str
    trainer: str
    endpoint: str
    question: str
    contrast: str
    l0: float = nan  # on clean text, of the two SAEs that are compared
    other_l0: float = nan
    n: int = 0  # data seeds
    mean: float = nan
    low: float = nan  # 95% t interval
    high: float = nan
    sd: float = nan
    effect: float = nan  # mean / sd
    p: float = nan
    family: str = ""  # of tests: this, of this contrast and trainer
    tests: int = 0  # in the family
    holm_p: float = nan
    margin: float = nan
    equivalence_p: float = nan  # small where the mean lies within the margin
    equivalence_holm_p: float = nan
    seeds_needed: int = 0  # with which this family's tests would find a difference of the margin in 80 of 100 runs
    missing: str = ""


COLUMNS = tuple(field.name for field in fields(Contrast))


def contrasts(shown: Shown, scores: Scores, extra: Sequence[Question] = ()) -> list[Contrast]:
    """Of the declared questions, and of `extra` ones, which claims ask."""
    values, declared = Values(shown, scores), questions(shown)
    rows = [_row(values, question, name, _family(shown, question)) for question in declared for name in CONTRASTS]
    for question in dict.fromkeys(extra):
        if question not in declared:
            family = CLAIMS if question.endpoint in shown.analysis.endpoints else ""
            rows += [_row(values, question, name, family) for name in CONTRASTS]
    return _corrected(shown, rows)


def _family(shown: Shown, question: Question) -> str:
    as_in_the_paper = all(shown.stream(term.stream).as_in_the_paper for term in question.terms)
    return MASKS if as_in_the_paper else CONTROL_STREAMS


def _row(values: Values, question: Question, name: str, family: str) -> Contrast:
    shown, differences = values.shown, Differences(values.shown, values, question)
    row = Contrast(shown.run, question.model, question.trainer, question.endpoint, question.name, name, family=family)
    try:
        found = estimate(differences.of(name))
    except MissingError as reason:
        return replace(row, missing=str(reason))
    try:
        l0, other_l0 = differences.l0s(name)
    except MissingError:  # of the oracle, or of baselines alone
        l0 = other_l0 = nan
    row = replace(row, l0=l0, other_l0=other_l0, n=found.n, mean=found.mean, low=found.low, high=found.high)
    row = replace(row, sd=found.sd, effect=found.effect, p=found.p)
    if family and found.n > 1:
        margin = shown.analysis.endpoints[question.endpoint].margin
        row = replace(row, margin=margin, equivalence_p=found.equivalence_p(margin))
    return row


def _corrected(shown: Shown, rows: list[Contrast]) -> list[Contrast]:
    """With Holm's p over each family: the rows of one family, contrast and trainer."""

    def key(row: Contrast) -> tuple[str, str, str]:
        return row.family, row.contrast, row.trainer

    rows = list(rows)
    for family in dict.fromkeys(key(row) for row in rows if row.family):
        places = [place for place, row in enumerate(rows) if key(row) == family and row.n > 1]
        differ = holm([rows[place].p for place in places])
        equal = holm([rows[place].equivalence_p for place in places])
        for place, holm_p, equivalence in zip(places, differ, equal, strict=True):
            needed = seeds_needed(rows[place].sd, rows[place].margin, shown.analysis.alpha / len(places))
            rows[place] = replace(
                rows[place], tests=len(places), holm_p=holm_p, equivalence_holm_p=equivalence, seeds_needed=needed
            )
    return rows


def write_contrasts(path: str | Path, rows: list[Contrast]) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(["" if value != value else value for value in astuple(row)] for row in rows)
    write_bytes(path, text.getvalue().encode())


def read_contrasts(path: str | Path) -> list[Contrast]:
    """What write_contrasts wrote."""
    made: dict[str, Any] = {"n": int, "tests": int, "seeds_needed": int}
    texts = {field.name for field in fields(Contrast) if field.type == "str"}

    def value(name: str, text: str) -> Any:
        if name in texts:
            return text
        return made[name](text) if name in made else float(text or "nan")

    with open(path, newline="") as file:
        return [Contrast(**{name: value(name, text) for name, text in line.items()}) for line in csv.DictReader(file)]
