"""One question's contrasts as differences, one for each data seed. docs/inference.md defines them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from statistics import fmean

from ..scores.metrics import ACHIEVED_L0, Metric
from .arms import ORACLE, MissingError, Sae, Values, arm_of
from .questions import Question, Term, metric_of
from .settings import Shown

MATCHED = ("matched", "matched_there")
NO_MASKED = "no masked SAE is in it"
# The arms that a contrast compares, where they are not the masked SAE and the baseline.
SIDES: dict[str, tuple[str | None, str | None]] = {
    "budget": ("budget", None),
    "beyond_budget": (None, "budget"),
    "context": ("context", "fewer"),
}


@dataclass(frozen=True)
class Differences:
    """In points, paired: from the SAEs of one data seed."""

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
        return self._under_control().nominal()

    def less_control(self) -> list[float]:
        return self._sum([(1, self.nominal()), (-1, self.control())])

    def l0s(self, contrast: str) -> tuple[float, float]:
        """On clean text, of the two SAEs that a contrast compares; nan where it compares more."""
        masked, *more = self._masked()
        if more or len(self.question.terms) != 2 or contrast in ("rest", "less_control"):
            return nan, nan
        if contrast == "control":
            return self._under_control().l0s("nominal")
        (baseline,) = [term for term in self.question.terms if self._is_baseline(term)]
        streams = [masked.stream, baseline.stream]
        if contrast in MATCHED:
            streams = [masked.stream, masked.stream]
        elif contrast in SIDES:
            arms = zip(SIDES[contrast], streams, strict=True)
            streams = [stream if arm is None else self._arm(masked, arm) for arm, stream in arms]
        found = [fmean(self.values.l0(self._sae(stream, masked.l0))) for stream in streams]
        return found[0], found[1]

    @property
    def _metric(self) -> Metric:
        return metric_of(self.shown, self.question.endpoint)

    def _under_control(self) -> Differences:
        control = self.shown.analysis.control
        if control is None or control not in [trainer.name for trainer in self.shown.trainers]:
            raise MissingError("this run does not have the trainer analysis.control")
        if control == self.question.trainer:
            raise MissingError("this is the control trainer")
        return Differences(self.shown, self.values, replace(self.question, trainer=control))

    def _less_baseline_at(self, l0: str) -> list[float]:
        terms = []
        for term in self._masked():
            sae = self._sae(term.stream, term.l0)
            terms += [(term.sign, self.values.of(sae, self._metric))]
            terms += [(-term.sign, self.values.baseline_at(sae, self._metric, l0))]
        return self._sum(terms)

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
            raise MissingError(NO_MASKED)
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
