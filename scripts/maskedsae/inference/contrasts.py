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

from ..activations.settings import Stream
from ..jobs.files import write_bytes
from ..scores.metrics import ACHIEVED_L0, Metric, endpoints
from ..scores.table import Scores
from .arms import ORACLE, MissingError, Sae, Values, arm_of
from .settings import Shown
from .statistics import Estimate, estimate, holm, seeds_needed

# In the order of a report. NOMINAL is the paper's comparison; each of EVIDENCE estimates what masking adds to sparsity.
NOMINAL = "nominal"
EVIDENCE = ("matched", "beyond_budget", "context", "control")
CONTRASTS = (
    NOMINAL,
    "matched",
    "matched_there",
    "budget",
    "beyond_budget",
    "context",
    "rest",
    "control",
    "less_control",
)


@dataclass(frozen=True)
class Term:
    """An SAE's score with its sign."""

    sign: int
    stream: str  # or the oracle
    l0: int

    @property
    def words(self) -> str:
        return self.stream if self.stream == ORACLE else f"{self.stream}@{self.l0}"


@dataclass(frozen=True)
class Question:
    """A difference of scores: in the simplest case a masked SAE less the baseline of the same nominal l0."""

    model: str
    trainer: str
    endpoint: str
    terms: tuple[Term, ...]

    @property
    def name(self) -> str:
        """Such as "mask30@20 - clean@20"."""
        words = [("- " if term.sign < 0 else "+ ") + term.words for term in self.terms]
        return " ".join(words).removeprefix("+ ")


@dataclass(frozen=True)
class Contrast:
    """A row of contrasts.csv, in points; higher is better for every endpoint. `missing` says why there is no number."""

    run: str
    model: str
    trainer: str
    endpoint: str
    question: str
    contrast: str
    n: int = 0  # data seeds
    mean: float = nan
    low: float = nan  # 95% t interval
    high: float = nan
    sd: float = nan
    effect: float = nan  # mean / sd
    p: float = nan
    family: int = 0  # tests that holm_p holds for: those of this contrast and trainer in this run
    holm_p: float = nan
    margin: float = nan
    equivalence_p: float = nan  # small where the mean lies within the margin
    equivalence_holm_p: float = nan
    seeds_needed: int = 0  # with which a difference of the margin would be found in 80 of 100 runs
    missing: str = ""


COLUMNS = tuple(field.name for field in fields(Contrast))


def masked(shown: Shown, model: str) -> list[tuple[Stream, int]]:
    """The streams that are compared with the baseline, as the paper's is, with each nominal l0 that both have."""
    if shown.baseline is None:
        return []
    baseline = shown.compared_l0s(model, shown.baseline)
    streams = [stream for stream in shown.streams if arm_of(stream) == "paper"]
    return [(stream, l0) for stream in streams for l0 in shown.compared_l0s(model, stream) if l0 in baseline]


def questions(shown: Shown) -> list[Question]:
    """Each endpoint that the analysis declares, of each masked SAE."""
    found = []
    for model in shown.models:
        for trainer in shown.trainers:
            for stream, l0 in masked(shown, model.name):
                assert shown.baseline is not None
                terms = (Term(1, stream.name, l0), Term(-1, shown.baseline.name, l0))
                found += [
                    Question(model.name, trainer.name, name, terms)
                    for name in shown.analysis.endpoints
                    if metric_of(shown, name).file in model.scores
                ]
    return found


def metric_of(shown: Shown, endpoint: str) -> Metric:
    report = shown.report
    return endpoints(report.explained_variance, report.n, report.k)[endpoint]


def contrasts(shown: Shown, scores: Scores, extra: Sequence[Question] = ()) -> list[Contrast]:
    """Of the declared questions, and of `extra` ones, which claims ask."""
    asked = list(dict.fromkeys((*questions(shown), *extra)))
    rows = [_row(shown, question, name, scores) for question in asked for name in CONTRASTS]
    for family in dict.fromkeys((row.contrast, row.trainer) for row in rows):
        places = [place for place, row in enumerate(rows) if (row.contrast, row.trainer) == family and row.n > 1]
        differ = holm([rows[place].p for place in places])
        equal = iter(holm([rows[place].equivalence_p for place in places if rows[place].margin > 0]))
        for place, p in zip(places, differ, strict=True):
            equal_p = next(equal) if rows[place].margin > 0 else nan
            rows[place] = replace(rows[place], family=len(places), holm_p=p, equivalence_holm_p=equal_p)
    return rows


def _row(shown: Shown, question: Question, name: str, scores: Scores) -> Contrast:
    row = Contrast(shown.run, question.model, question.trainer, question.endpoint, question.name, name)
    try:
        differences = Differences(shown, Values(shown, scores), question).of(name)
    except MissingError as reason:
        return replace(row, missing=str(reason))
    declared = shown.analysis.endpoints.get(question.endpoint)
    return _with(row, estimate(differences), declared.margin if declared else nan)


def _with(row: Contrast, found: Estimate, margin: float) -> Contrast:
    known = found.n > 1 and margin == margin
    return replace(
        row,
        n=found.n,
        mean=found.mean,
        low=found.low,
        high=found.high,
        sd=found.sd,
        effect=found.effect,
        p=found.p,
        margin=margin,
        equivalence_p=found.equivalence_p(margin) if known else nan,
        seeds_needed=seeds_needed(found.sd, margin) if known else 0,
    )


@dataclass(frozen=True)
class Differences:
    """One question's contrasts: for each, a difference for each data seed."""

    shown: Shown
    values: Values
    question: Question

    def of(self, contrast: str) -> list[float]:
        made: list[float] = getattr(self, contrast)()
        return made

    def nominal(self) -> list[float]:
        return self._sum([(term.sign, self._value(term.stream, term.l0)) for term in self.question.terms])

    def matched(self) -> list[float]:
        """Each masked SAE less the baseline at the l0 that it has on clean text."""
        return self._less_baseline_at(ACHIEVED_L0)

    def matched_there(self) -> list[float]:
        """The same at the l0 that it has on the texts of the score, which are short, or all of one kind."""
        return self._less_baseline_at(self._metric.l0)

    def _less_baseline_at(self, l0: str) -> list[float]:
        terms = []
        for term in self._masked():
            sae = self._sae(term.stream, term.l0)
            terms += [(term.sign, self.values.of(sae, self._metric))]
            terms += [(-term.sign, self.values.baseline_at(sae, self._metric, l0))]
        return self._sum(terms)

    def budget(self) -> list[float]:
        """Rows of masked tokens beside clean contexts, less the baseline."""
        terms = [(term.sign, self._value(self._arm(term, "budget"), term.l0)) for term in self._masked()]
        rest = [term for term in self.question.terms if self._is_baseline(term)]
        return self._sum(terms + [(term.sign, self._value(term.stream, term.l0)) for term in rest])

    def beyond_budget(self) -> list[float]:
        """The masked SAE less the one that learned the same rows of masked tokens beside clean contexts."""
        return self._between(None, "budget")

    def context(self) -> list[float]:
        """Masked less clean contexts, both without the rows of masked tokens."""
        return self._between("context", "fewer")

    def rest(self) -> list[float]:
        """What budget and context together leave of the nominal difference."""
        return self._sum([(1, self.nominal()), (-1, self.budget()), (-1, self.context())])

    def control(self) -> list[float]:
        """The nominal difference under the trainer in which the nominal l0 holds for each token."""
        control = self.shown.analysis.control
        if control is None or control not in [trainer.name for trainer in self.shown.trainers]:
            raise MissingError("no trainer is named as analysis.control")
        if control == self.question.trainer:
            raise MissingError("this is the control")
        return Differences(self.shown, self.values, replace(self.question, trainer=control)).nominal()

    def less_control(self) -> list[float]:
        return self._sum([(1, self.nominal()), (-1, self.control())])

    @property
    def _metric(self) -> Metric:
        return metric_of(self.shown, self.question.endpoint)

    def _between(self, more: str | None, less: str) -> list[float]:
        terms = []
        for term in self._masked():
            stream = term.stream if more is None else self._arm(term, more)
            terms += [(term.sign, self._value(stream, term.l0))]
            terms += [(-term.sign, self._value(self._arm(term, less), term.l0))]
        return self._sum(terms)

    def _masked(self) -> list[Term]:
        found = [term for term in self.question.terms if not self._is_baseline(term)]
        if not found:
            raise MissingError("no masked SAE is in it")
        if any(term.stream == ORACLE for term in self.question.terms):
            raise MissingError("it is about the oracle")
        return found

    def _is_baseline(self, term: Term) -> bool:
        return term.stream == ORACLE or self.shown.stream(term.stream).is_baseline

    def _arm(self, term: Term, arm: str) -> str:
        """The stream of the same corruption that is this arm."""
        corruption = self.shown.stream(term.stream).corruption
        for stream in self.shown.streams:
            if stream.corruption == corruption and arm_of(stream) == arm:
                return stream.name
        raise MissingError(f"no stream is arm {arm} of {term.stream}")

    def _value(self, stream: str, l0: int) -> list[float]:
        return self.values.of(self._sae(stream, l0), self._metric)

    def _sae(self, stream: str, l0: int) -> Sae:
        return Sae(self.question.model, self.question.trainer, stream, l0)

    @staticmethod
    def _sum(terms: Sequence[tuple[int, list[float]]]) -> list[float]:
        by_seed = zip(*([sign * value for value in values] for sign, values in terms), strict=True)
        return [round(sum(values), 9) for values in by_seed]  # sums of equal scores differ in their last bits


def write_contrasts(path: str | Path, rows: list[Contrast]) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(["" if value != value else value for value in astuple(row)] for row in rows)
    write_bytes(path, text.getvalue().encode())


def read_contrasts(path: str | Path) -> list[Contrast]:
    """What write_contrasts wrote."""
    made: dict[str, Any] = {"n": int, "family": int, "seeds_needed": int}
    texts = {field.name for field in fields(Contrast) if field.type == "str"}

    def value(name: str, text: str) -> Any:
        if name in texts:
            return text
        return made[name](text) if name in made else float(text or "nan")

    with open(path, newline="") as file:
        return [Contrast(**{name: value(name, text) for name, text in line.items()}) for line in csv.DictReader(file)]
