"""What is asked of a run's scores: differences, in the simplest case of a masked SAE less the baseline of one l0."""

from __future__ import annotations

from dataclasses import dataclass

from ..activations.settings import Stream
from ..scores.metrics import Metric, endpoints
from .arms import ORACLE, arm_of
from .settings import Shown


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
    """A difference of scores."""

    model: str
    trainer: str
    endpoint: str
    terms: tuple[Term, ...]

    @property
    def name(self) -> str:
        """Such as "mask30@20 - clean@20"."""
        words = [("- " if term.sign < 0 else "+ ") + term.words for term in self.terms]
        return " ".join(words).removeprefix("+ ")


def metric_of(shown: Shown, endpoint: str) -> Metric:
    report = shown.report
    return endpoints(report.explained_variance, report.n, report.k)[endpoint]


def masked(shown: Shown, model: str) -> list[tuple[Stream, int]]:
    """The streams that are compared with the baseline, as the paper's is, with each nominal l0 that both have."""
    if shown.baseline is None:
        return []
    baseline = shown.compared_l0s(model, shown.baseline)
    streams = [stream for stream in shown.streams if arm_of(stream) == "paper"]
    return [(stream, l0) for stream in streams for l0 in shown.compared_l0s(model, stream) if l0 in baseline]


def questions(shown: Shown) -> list[Question]:
    """Each endpoint that the analysis declares, of each masked SAE."""
    return [
        question(shown, model.name, trainer.name, name, stream.name, l0)
        for model in shown.models
        for trainer in shown.trainers
        for stream, l0 in masked(shown, model.name)
        for name in shown.analysis.endpoints
        if metric_of(shown, name).file in model.scores
    ]


def question(shown: Shown, model: str, trainer: str, endpoint: str, stream: str, l0: int) -> Question:
    """An SAE of this stream less the baseline of the same nominal l0."""
    assert shown.baseline is not None
    return Question(model, trainer, endpoint, (Term(1, stream, l0), Term(-1, shown.baseline.name, l0)))


def headline(shown: Shown, model: str) -> tuple[Stream, int] | None:
    """The masked SAE that a report speaks of first: one that other arms take apart, else one that all tables of the
    model show; at the smallest nominal l0."""
    tables = [table for table in shown.tables if table.model == model]
    asked = masked(shown, model)

    def rank(place: tuple[Stream, int]) -> tuple[bool, bool, int]:
        stream, l0 = place
        arms = {arm_of(other) for other in shown.streams if other.corruption == stream.corruption}
        apart = "budget" in arms and bool(shown.analysis.needed_l0s(model, stream, shown.l0))
        return not apart, not all(stream.name in table.streams for table in tables), l0

    return min(asked, key=rank, default=None)
