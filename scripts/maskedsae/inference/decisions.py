"""What the contrasts decide: for each question, does masking add to what sparsity alone would give?

A verdict needs enough data seeds and an assay: differences that are known must come out first. docs/inference.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..scores.table import Scores
from .arms import MissingError, Sae, Values
from .contrasts import EVIDENCE, NOMINAL, Contrast
from .differences import NO_MASKED
from .questions import metric_of
from .settings import Known, Shown
from .statistics import estimate

ADDS, SUFFICES, HARMS, UNDECIDED = "masking adds", "sparsity suffices", "masking harms", "undecided"
NO_GAIN = "no gain to explain"
NOT_HERE = "cannot be decided here"
NOT_JUDGED = "shown, not judged"
BETTER, WORSE, EQUAL = "better", "worse", "equal within the margin"
TOO_NOISY = "TPP and SCR change too much from one evaluation to the next to be judged (Chanin, arXiv 2605.18229)"

EQUAL_SPARSITY = 0.02  # arms whose l0 on clean text differs by more are not compared at equal sparsity


@dataclass(frozen=True)
class Assay:
    """A known difference: an endpoint may be judged only where the run shows it."""

    model: str
    trainer: str  # whose verdicts it is for; with two trainers, the first
    endpoint: str
    kind: str  # l0 or trainer
    what: str  # "clean@40 - clean@20 (topk)"
    known: str  # better or worse
    n: int
    mean: float | None
    p: float | None
    passed: bool
    why: str


@dataclass(frozen=True)
class Decision:
    """`verdict` is that of the contrast `matched`; `by` has one for each kind of evidence that the run has."""

    model: str
    trainer: str
    endpoint: str
    question: str
    nominal: str  # better, worse, equal within the margin, undecided, or why it is not judged
    verdict: str
    why: str
    judged: bool  # whether anything could be
    by: dict[str, str]


def assays(shown: Shown, scores: Scores) -> list[Assay]:
    """For each model and endpoint, as far as something is known: the baseline's l0, with each trainer; two trainers."""
    values = Values(shown, scores)
    found = []
    for model in shown.models:
        for name, endpoint in shown.analysis.endpoints.items():
            if metric_of(shown, name).file not in model.scores:
                continue
            if endpoint.l0 is not None:
                for trainer in shown.trainers:
                    found.append(_assay(values, model.name, trainer.name, name, "l0", endpoint.l0))
            if endpoint.trainer is not None:
                first = shown.analysis.assay[0] if shown.analysis.assay else ""
                found.append(_assay(values, model.name, first, name, "trainer", endpoint.trainer))
    return found


def _assay(values: Values, model: str, trainer: str, endpoint: str, kind: str, known: Known) -> Assay:
    assert known is not None
    what = {"l0": "the baseline's next l0 - its smallest", "trainer": "two trainers"}[kind]
    n, mean, p, passed = 0, None, None, False
    try:
        more, less = _pair(values.shown, model, trainer, kind)
        what = f"{_words(more)} - {_words(less)}"
        metric = metric_of(values.shown, endpoint)
        pairs = zip(values.of(more, metric), values.of(less, metric), strict=True)
        seen = estimate([round(one - other, 9) for one, other in pairs])
        n, mean, why = seen.n, seen.mean, "one data seed"
        if seen.n > 1:
            p = seen.p
            passed = seen.p < values.shown.analysis.assay_alpha and (seen.mean > 0) == (known == "better")
            why = "" if passed else f"known to be {known}: {seen.mean:+.2f} points, p = {seen.p:.2g}, n = {seen.n}"
    except MissingError as reason:
        why = str(reason)
    return Assay(model, trainer, endpoint, kind, what, known, n, mean, p, passed, why)


def _pair(shown: Shown, model: str, trainer: str, kind: str) -> tuple[Sae, Sae]:
    if shown.baseline is None:
        raise MissingError("no stream without corruption")
    stream, nominal = shown.baseline.name, nominal_l0s(shown, model)
    if kind == "l0":
        if len(nominal) < 2:
            raise MissingError("the baseline has one l0 only")
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
    return [_Judge(shown, found, known).decision() for found in by_question.values()]


class _Judge:
    """Of one question."""

    def __init__(self, shown: Shown, found: dict[str, Contrast], known: Sequence[Assay]):
        self.analysis, self.rows, self.nominal = shown.analysis, found, found[NOMINAL]
        about = (self.nominal.model, self.nominal.endpoint)
        self.assays = [assay for assay in known if (assay.model, assay.endpoint) == about]
        # Baselines alone are what assays are made of: none of these may stand in the way of a claim about them.
        self.masked = found["matched"].missing != NO_MASKED

    def decision(self) -> Decision:
        gain, (not_judged, why_not) = self.gain(), self.why_not()
        verdicts = {}
        for name in EVIDENCE:
            if not self.rows[name].missing:
                verdicts[name] = not_judged or self.judged(gain, name)
        matched = self.rows["matched"]
        verdict = not_judged or verdicts.get("matched", UNDECIDED)
        why = why_not or matched.missing or f"at equal l0 {in_words(matched)}"
        about = (self.nominal.model, self.nominal.trainer, self.nominal.endpoint, self.nominal.question)
        return Decision(*about, not_judged or gain, verdict, why, not not_judged, verdicts)

    def gain(self) -> str:
        """At equal nominal l0, as the paper compares. A shown sign counts, however small the difference."""
        row, alpha = self.nominal, self.analysis.alpha
        if row.holm_p < alpha:
            return BETTER if row.mean > 0 else WORSE
        return EQUAL if row.equivalence_holm_p < alpha and self.can_show(row.trainer) else UNDECIDED

    def judged(self, gain: str, name: str) -> str:
        """A difference that is shown to be within the margin counts as none, also where it is shown not to be 0."""
        row, alpha = self.rows[name], self.analysis.alpha
        if name in ("beyond_budget", "context") and abs(row.l0 / row.other_l0 - 1) > EQUAL_SPARSITY:
            return UNDECIDED
        trainer = self.analysis.control if name == "control" and self.analysis.control else row.trainer
        if row.equivalence_holm_p < alpha and self.can_show(trainer):
            return {BETTER: SUFFICES, WORSE: SUFFICES, EQUAL: NO_GAIN}.get(gain, UNDECIDED)
        if row.holm_p < alpha and not row.equivalence_holm_p < alpha:
            return ADDS if row.mean > 0 else HARMS
        return UNDECIDED

    def can_show(self, trainer: str) -> bool:
        """That nothing differs can be said only of a score that was seen to differ: it has an assay, and passed it."""
        return bool(self.assays_of(trainer)) and not self.failed(trainer)

    def assays_of(self, trainer: str) -> list[Assay]:
        return [assay for assay in self.assays if assay.kind == "trainer" or assay.trainer == trainer]

    def failed(self, trainer: str) -> list[Assay]:
        return [assay for assay in self.assays_of(trainer) if not assay.passed]

    def why_not(self) -> tuple[str, str]:
        """Why nothing may be judged: a verdict and its reason, or two empty texts."""
        row, least = self.nominal, self.analysis.least_seeds
        if row.missing:
            return UNDECIDED, row.missing
        if not row.family:
            return NOT_JUDGED, TOO_NOISY
        if row.n < least:
            return UNDECIDED, f"{row.n} data seed{'s' if row.n > 1 else ''}, and a verdict needs {least}"
        if self.masked and (failed := self.failed(row.trainer)):
            return NOT_HERE, f"the run does not show what is known: {failed[0].what}: {failed[0].why}"
        return "", ""


def in_words(row: Contrast) -> str:
    """ "+0.58 points (+0.54 to +0.63), n = 8, margin 0.79"."""
    return f"{row.mean:+.2f} points ({row.low:+.2f} to {row.high:+.2f}), n = {row.n}, margin {row.margin:g}"
