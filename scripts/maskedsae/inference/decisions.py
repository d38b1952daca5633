"""What the contrasts decide: for each question, does masking add to what sparsity alone would give?

A verdict needs enough data seeds and an assay: differences that are known must come out first. docs/inference.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..scores.table import Scores
from .arms import MissingError, Sae, Values
from .contrasts import EVIDENCE, NOMINAL, Contrast, metric_of
from .settings import Known, Shown, ShownModel
from .statistics import estimate

ADDS, SUFFICES, HARMS, UNDECIDED = "masking adds", "sparsity suffices", "masking harms", "undecided"
NO_GAIN = "no gain to explain"
NOT_HERE = "cannot be decided here"
BETTER, WORSE, EQUAL = "better", "worse", "equal within the margin"


@dataclass(frozen=True)
class Assay:
    """A known difference: an endpoint may be judged only where the run shows it."""

    model: str
    endpoint: str
    what: str  # "clean@40 - clean@20 (topk)"
    known: str  # better or worse
    n: int
    mean: float | None
    p: float | None
    passed: bool
    why: str


@dataclass(frozen=True)
class Decision:
    """`verdict` is that of the contrast `matched`; `by` has one for each evidence that the run has."""

    model: str
    trainer: str
    endpoint: str
    question: str
    nominal: str  # better, worse, equal within the margin, undecided
    verdict: str
    why: str
    judged: bool  # whether anything could be
    by: dict[str, str]


def assays(shown: Shown, scores: Scores) -> list[Assay]:
    """For each model and endpoint: the baseline's l0, and two trainers, as far as something is known of them."""
    values = Values(shown, scores)
    found = []
    for model in shown.models:
        for name, endpoint in shown.analysis.endpoints.items():
            if metric_of(shown, name).file in model.scores:
                known = (("l0", endpoint.l0), ("trainer", endpoint.trainer))
                found += [_assay(shown, values, model, name, kind, way) for kind, way in known if way is not None]
    return found


def _assay(shown: Shown, values: Values, model: ShownModel, endpoint: str, kind: str, known: Known) -> Assay:
    assert known is not None
    what = {"l0": "the baseline's next l0 less its smallest", "trainer": "two trainers"}[kind]
    try:
        more, less = _pair(shown, model.name, kind)
        what = f"{_words(more)} - {_words(less)}"
        metric = metric_of(shown, endpoint)
        pairs = zip(values.of(more, metric), values.of(less, metric), strict=True)
        seen = estimate([round(one - other, 9) for one, other in pairs])
    except MissingError as reason:
        return Assay(model.name, endpoint, what, known, 0, None, None, False, str(reason))
    if seen.n < 2:
        return Assay(model.name, endpoint, what, known, seen.n, seen.mean, None, False, "one data seed")
    passed = seen.p < shown.analysis.assay_alpha and (seen.mean > 0) == (known == "better")
    why = "" if passed else f"known to be {known}: {seen.mean:+.2f} points, p = {seen.p:.2g}, n = {seen.n}"
    return Assay(model.name, endpoint, what, known, seen.n, seen.mean, seen.p, passed, why)


def _pair(shown: Shown, model: str, kind: str) -> tuple[Sae, Sae]:
    if shown.baseline is None:
        raise MissingError("no stream without corruption")
    stream, nominal = shown.baseline.name, nominal_l0s(shown, model)
    if kind == "l0":
        if len(nominal) < 2:
            raise MissingError("the baseline has one nominal l0 only")
        trainer = shown.trainers[0].name
        return Sae(model, trainer, stream, nominal[1]), Sae(model, trainer, stream, nominal[0])
    pair, names = shown.analysis.assay, [trainer.name for trainer in shown.trainers]
    if pair is None or not set(pair) <= set(names) or not nominal:
        raise MissingError("this run does not have both trainers of analysis.assay")
    return Sae(model, pair[0], stream, nominal[0]), Sae(model, pair[1], stream, nominal[0])


def nominal_l0s(shown: Shown, model: str) -> list[int]:
    """The baseline's l0s that stand in the grid, from the smallest; those of `baseline_l0` only complete its curve."""
    assert shown.baseline is not None
    compared = shown.compared_l0s(model, shown.baseline)
    in_grid = [l0 for l0 in compared if l0 in shown.l0]
    return in_grid if len(in_grid) > 1 else list(compared)


def _words(sae: Sae) -> str:
    return f"{sae.stream}@{sae.l0} ({sae.trainer})"


def decide(shown: Shown, rows: Sequence[Contrast], known: Sequence[Assay]) -> list[Decision]:
    """One for each question of `rows`."""
    by_question: dict[tuple[str, str, str, str], dict[str, Contrast]] = {}
    for row in rows:
        key = (row.model, row.trainer, row.endpoint, row.question)
        by_question.setdefault(key, {})[row.contrast] = row
    return [_decision(shown, found, known) for found in by_question.values()]


def _decision(shown: Shown, found: dict[str, Contrast], known: Sequence[Assay]) -> Decision:
    nominal = found[NOMINAL]
    gain, why_not = judged_nominal(shown, nominal), _why_not(shown, nominal, known)
    enough = nominal.n >= shown.analysis.least_seeds
    not_judged = NOT_HERE if why_not and enough else UNDECIDED
    verdicts = {}
    for name in EVIDENCE:
        row = found[name]
        if not row.missing:
            verdicts[name] = not_judged if why_not else _judged(gain, row, shown)
    matched = found["matched"]
    verdict = verdicts.get("matched", not_judged)
    why = why_not or matched.missing or f"at equal l0 {in_words(matched)}"
    return Decision(
        nominal.model,
        nominal.trainer,
        nominal.endpoint,
        nominal.question,
        not_judged if why_not else gain,
        verdict,
        why,
        not why_not,
        verdicts,
    )


def judged_nominal(shown: Shown, row: Contrast) -> str:
    """At equal nominal l0, as the paper compares."""
    alpha = shown.analysis.alpha
    if row.missing or row.n < shown.analysis.least_seeds:
        return UNDECIDED
    if row.equivalence_holm_p < alpha:
        return EQUAL
    if row.holm_p < alpha:
        return BETTER if row.mean > 0 else WORSE
    return UNDECIDED


def _judged(gain: str, row: Contrast, shown: Shown) -> str:
    """A difference that is shown to be within the margin counts as none, also where it is shown not to be 0."""
    alpha = shown.analysis.alpha
    if row.equivalence_holm_p < alpha:
        return SUFFICES if gain == BETTER else NO_GAIN
    if row.holm_p < alpha:
        return ADDS if row.mean > 0 else HARMS
    return UNDECIDED


def _why_not(shown: Shown, nominal: Contrast, known: Sequence[Assay]) -> str:
    """Why nothing may be judged, or an empty text."""
    if nominal.missing:
        return nominal.missing
    least = shown.analysis.least_seeds
    if nominal.n < least:
        return f"{nominal.n} data seed{'s' if nominal.n > 1 else ''}, and a verdict needs {least}"
    failed = _failed(nominal, known)
    return f"the run does not show what is known: {failed[0].what}: {failed[0].why}" if failed else ""


def _failed(row: Contrast, known: Iterable[Assay]) -> list[Assay]:
    return [assay for assay in known if (assay.model, assay.endpoint) == (row.model, row.endpoint) and not assay.passed]


def in_words(row: Contrast) -> str:
    """ "+0.58 points (+0.54 to +0.63), n = 8, margin 0.79"."""
    return f"{row.mean:+.2f} points ({row.low:+.2f} to {row.high:+.2f}), n = {row.n}, margin {row.margin:g}"
