"""The paper's claims, each with a verdict from a run's own scores, for the paper's comparison and for each evidence.

A claim about several differences (one per l0, or per step of p) is judged by the weakest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..saes.settings import Trainer
from .arms import ORACLE
from .contrasts import Contrast
from .decisions import (
    ADDS,
    BETTER,
    HARMS,
    NO_GAIN,
    NOT_HERE,
    NOT_JUDGED,
    SUFFICES,
    TOO_NOISY,
    UNDECIDED,
    WORSE,
    Decision,
    in_words,
)
from .published import Published, metrics_of
from .questions import Question, Term, metric_of
from .settings import Shown

AS_CLAIMED, OPPOSITE, NOT_TESTED = "as claimed", "not as claimed", "not tested"

# A claim about several differences has the first of these that one of them has.
WEAKEST_FIRST = (OPPOSITE, HARMS, NOT_HERE, UNDECIDED, NO_GAIN, SUFFICES, ADDS, AS_CLAIMED)


@dataclass(frozen=True)
class Difference:
    """In points: in this run, and in the paper's own tables where they have it."""

    name: str  # "mask30@20 - clean@20"
    ours: float | None
    published: float | None


@dataclass(frozen=True)
class Verdict:
    id: str
    trainer: str
    place: str
    text: str
    read_as: str | None
    model: str | None  # None for a claim that no cells can settle
    metrics: tuple[str, ...]
    direction: str
    stated: str | None
    verdict: str  # of the paper's comparison, at nominal l0
    why: str
    by: dict[str, str]  # what each evidence says: does masking add to sparsity?
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Claim:
    """One of reference/claims.yaml for one trainer; its questions, or why there are none."""

    entry: dict[str, Any]
    trainer: str
    questions: tuple[Question, ...]
    why_not: str


def claims(shown: Shown, published: Published) -> list[Claim]:
    return [
        _claim(shown, published, entry, trainer) for trainer in shown.trainers for entry in published.claims["claims"]
    ]


def _claim(shown: Shown, published: Published, entry: dict[str, Any], trainer: Trainer) -> Claim:
    if not entry["differences"]:
        return Claim(entry, trainer.name, (), entry["because"])
    models = [model for model in shown.models if published.model_of(model) == entry["model"]]
    if shown.demo or not models:
        hub = published.experiment["models"][entry["model"]]["hub"]
        return Claim(entry, trainer.name, (), f"{hub} is not part of this run")
    if published.departures(models[0], trainer, shown):
        return Claim(entry, trainer.name, (), "another experiment than the paper's")
    lacking = [name for name in metrics_of(entry) if metric_of(shown, name).file not in models[0].scores]
    if lacking:
        return Claim(entry, trainer.name, (), f"saebench.evals does not ask for {', '.join(lacking)}")
    found = []
    for metric, difference in product(metrics_of(entry), entry["differences"]):
        terms = []
        for side, sign in (("plus", 1), ("minus", -1)):
            for term in difference[side]:
                place = _place(shown, term)
                if place is None:
                    return Claim(
                        entry, trainer.name, (), f"no stream of this run masks as the paper at p = {term[0]:g}"
                    )
                terms.append(Term(sign, *place))
        found.append(Question(models[0].name, trainer.name, metric, tuple(terms)))
    return Claim(entry, trainer.name, tuple(found), "")


def _place(shown: Shown, term: list[Any] | str) -> tuple[str, int] | None:
    """The stream made as in the paper, not another with the same p; and the l0."""
    if isinstance(term, str):
        return ORACLE, 0
    p, l0 = float(term[0]), int(term[1])
    streams = [s for s in shown.streams if s.as_in_the_paper and s.is_baseline == (p == 0) and s.p == p]
    return (streams[0].name, l0) if streams else None


def verdicts(
    shown: Shown, published: Published, rows: Sequence[Contrast], decisions: Sequence[Decision]
) -> list[Verdict]:
    """One for each claim and trainer, in their order. `rows` and `decisions`: of the claims' questions too."""
    nominal = {_key(row): row for row in rows if row.contrast == "nominal"}
    decided = {_key(decision): decision for decision in decisions}
    return [_verdict(shown, published, claim, nominal, decided) for claim in claims(shown, published)]


Key = tuple[str, str, str, str]


def _key(of: Contrast | Decision) -> Key:
    return of.model, of.trainer, of.endpoint, of.question


def _verdict(
    shown: Shown, published: Published, claim: Claim, nominal: dict[Key, Contrast], decided: dict[Key, Decision]
) -> Verdict:
    entry, by = claim.entry, {}
    keys = [(question.model, question.trainer, question.endpoint, question.name) for question in claim.questions]
    rows, found = [nominal[key] for key in keys], [decided[key] for key in keys]
    if claim.why_not:
        verdict, why = NOT_TESTED, claim.why_not
    elif missing := [row.missing for row in rows if row.missing]:
        verdict, why = NOT_TESTED, missing[0]
    else:
        pairs = list(zip(found, rows, strict=True))
        pairs = [(decision, row) for decision, row in pairs if decision.endpoint in shown.analysis.endpoints]
        judged = [decision for decision, _ in pairs]
        agrees = [_agrees(entry["direction"], *pair, shown.analysis.alpha) for pair in pairs]
        verdict = _weakest(agrees) if agrees else NOT_JUDGED
        why = _why(*pairs[agrees.index(verdict)]) if agrees else TOO_NOISY
        if len(judged) < len(found) and verdict != OPPOSITE:  # one judged difference can refute what is said of all
            verdict, why = NOT_JUDGED, TOO_NOISY
        if all(_of_one_masked_sae(question) for question in claim.questions):
            names = [name for name in judged[0].by if all(name in decision.by for decision in judged)] if judged else []
            by = {name: _weakest([decision.by[name] for decision in judged]) for name in names}
    several = len(metrics_of(entry)) > 1
    asked = list(product(metrics_of(entry), entry["differences"]))[: len(rows)]
    differences = tuple(
        Difference(
            f"{metric}: {question.name}" if several else question.name,
            None if row.missing else row.mean,
            _printed(published, shown, entry, metric, difference),
        )
        for (metric, difference), question, row in zip(asked, claim.questions, rows, strict=True)
    )
    quoted: dict[str, Any] = {key: entry[key] for key in ("id", "place", "text", "model", "direction", "stated")}
    quoted |= {"read_as": entry.get("read_as"), "metrics": metrics_of(entry)}
    return Verdict(**quoted, trainer=claim.trainer, verdict=verdict, why=why, by=by, differences=differences)


def _of_one_masked_sae(question: Question) -> bool:
    """A masked SAE less its baseline; of other differences "masking adds" would say nothing."""
    more, *less = question.terms
    return len(less) == 1 and more.stream != ORACLE


def _agrees(direction: str, decision: Decision, nominal: Contrast, alpha: float) -> str:
    found, within = decision.nominal, nominal.equivalence_holm_p < alpha
    if found == NOT_HERE or (found == UNDECIDED and not (within and decision.judged)):
        return found
    if direction == "none":
        return AS_CLAIMED if within else OPPOSITE
    agrees = {"up": found == BETTER, "down": found == WORSE, "not_worse": found != WORSE or within}
    return AS_CLAIMED if agrees[direction] else OPPOSITE


def _why(decision: Decision, nominal: Contrast) -> str:
    return f"{decision.question}: {in_words(nominal)}" if decision.judged else decision.why


def _weakest(found: Sequence[str]) -> str:
    return next(kind for kind in WEAKEST_FIRST if kind in found)


def _printed(
    published: Published, shown: Shown, entry: dict[str, Any], metric: str, difference: dict[str, Any]
) -> float | None:
    """The same difference in the paper's own table."""
    if metric == "ood":
        return float(entry["stated"]) if entry["stated"] else None
    label = next(shown_metric.label for shown_metric in shown.report.metrics if shown_metric.name == metric)
    plus, minus = difference["plus"], difference["minus"]
    values = published.values(entry["model"], label, [(float(p), int(l0)) for p, l0 in plus + minus])
    return sum(values[: len(plus)]) - sum(values[len(plus) :]) if values else None
