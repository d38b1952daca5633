"""What a run compares and shows: from the configuration, never from what happens to exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..activations.settings import Stream
from ..saes.cells import Cell, Imported
from ..saes.settings import Trainer
from ..scores.metrics import BESIDE_ABSORPTION, Metric, paper_metrics

# How the baseline's score is known to move, once scaled so that higher is better; None: nothing is known.
Known = Literal["better", "worse"] | None


@dataclass(frozen=True)
class ReportChoices:
    """Which of SAEBench's numbers the tables show: section `report` of the configuration."""

    explained_variance: str
    n: int
    k: int
    convergence: tuple[str, ...]  # two trainers, or none

    @property
    def metrics(self) -> list[Metric]:
        """The paper's."""
        return paper_metrics(self.explained_variance, self.n, self.k)

    @property
    def all_metrics(self) -> list[Metric]:
        """The paper's, and ours after full absorption."""
        first, *others = self.metrics
        return [first, *BESIDE_ABSORPTION, *others]


@dataclass(frozen=True)
class Endpoint:
    """A score that is judged, and what is known about it beforehand."""

    margin: float  # in points: a smaller difference counts as none
    l0: Known  # the baseline from its smallest l0 to the next
    trainer: Known  # the first of `Analysis.assay` less the second


@dataclass(frozen=True)
class Analysis:
    """What is to be decided, declared before anything runs: section `analysis` of the configuration."""

    models: tuple[str, ...] | None  # None: all
    arms: tuple[str, ...]  # streams that are compared with the baseline
    l0: tuple[int, ...] | None  # nominal l0s of the arms and the baseline; None: all of the grid
    baseline_l0: tuple[int, ...]  # further ones, of the baseline alone
    control: str | None  # the trainer in which the nominal l0 holds for each token
    assay: tuple[str, ...] | None  # two trainers of which the first is known to differ from the second
    endpoints: dict[str, Endpoint]
    least_seeds: int
    alpha: float
    assay_alpha: float

    def needed_l0s(self, model: str, stream: Stream, grid: Sequence[int]) -> tuple[int, ...]:
        """The l0s that it needs of this stream; `grid` are those of the configuration."""
        if not self.arms or (self.models is not None and model not in self.models):
            return ()
        nominal = tuple(grid if self.l0 is None else self.l0)
        if stream.is_baseline:
            return tuple(sorted({*nominal, *self.baseline_l0}))
        return tuple(sorted(nominal)) if stream.name in self.arms else ()


@dataclass(frozen=True)
class ShownTable:
    """A table of the configuration with its l0s, from the smallest."""

    name: str
    model: str
    streams: tuple[str, ...]
    l0: tuple[int, ...]


@dataclass(frozen=True)
class ShownModel:
    name: str
    hub: str | None
    path: str | None
    layer: int
    dtype: str
    bos: bool | None
    tf32: bool
    scores: tuple[str, ...]  # stems of the files that its SAEs' scores are in


@dataclass(frozen=True)
class ShownSae:
    """An SAE that the grid did not train."""

    name: str
    model: str
    group: str | None
    published: bool  # whether others published scores of it


@dataclass(frozen=True)
class Shown:
    """What tables, verdicts and figures show, and what decides whether the paper's numbers may be shown beside it."""

    run: str
    tables: tuple[ShownTable, ...]
    models: tuple[ShownModel, ...]
    streams: tuple[Stream, ...]
    trainers: tuple[Trainer, ...]
    seeds: tuple[int, ...]
    mask: str
    corpus: dict[str, Any]  # these five are sections of the configuration
    tokens: dict[str, Any]
    training: dict[str, Any]
    saebench: dict[str, Any]
    ood: dict[str, Any]
    report: ReportChoices
    demo: bool
    l0: tuple[int, ...]  # of the grid
    seed_groups: tuple[tuple[int, ...], ...]  # seeds that share a stream: their SAEs differ in initial weights alone
    analysis: Analysis
    imported: tuple[ShownSae, ...]  # shown beside the cells, and part of no contrast

    @property
    def baseline(self) -> Stream | None:
        """The stream without corruption."""
        return next((stream for stream in self.streams if stream.is_baseline), None)

    def stream(self, name: str) -> Stream:
        return next(stream for stream in self.streams if stream.name == name)

    def l0s(self, model: str, stream: str) -> tuple[int, ...]:
        """Those that some table shows."""
        return needed_l0s(self.tables, model, stream)

    def compared_l0s(self, model: str, stream: Stream) -> tuple[int, ...]:
        """Those that tables show or the analysis needs."""
        analysed = self.analysis.needed_l0s(model, stream, self.l0)
        return tuple(sorted({*self.l0s(model, stream.name), *analysed}))

    def cell(self, model: str, stream: str, trainer: str, l0: int, seed: int) -> Cell:
        return Cell(self.run, model, stream, trainer, l0, seed)

    def sae(self, sae: ShownSae) -> Imported:
        return Imported(self.run, sae.model, sae.name)


def needed_l0s(tables: Sequence[ShownTable], model: str, stream: str) -> tuple[int, ...]:
    """The l0s at which some table shows this stream of this model, from the smallest."""
    found = {l0 for table in tables if table.model == model and stream in table.streams for l0 in table.l0}
    return tuple(sorted(found))


@dataclass(frozen=True)
class TableSettings:
    """For the tables and the terminal's summary."""

    shown: Shown
    code: dict[str, str]


@dataclass(frozen=True)
class ContrastSettings:
    """For the contrasts and the verdicts."""

    shown: Shown
    code: dict[str, str]


@dataclass(frozen=True)
class DifferenceSettings:
    """For the paired differences out of distribution."""

    streams: tuple[Stream, ...]
    bootstrap: int
    seed: int
    demo: bool
    code: dict[str, str]


@dataclass(frozen=True)
class MechanismSettings:
    """Which SAEs' absorption is compared with the mutual information of a model's parents and children."""

    run: str
    model: str
    baseline: str  # the stream without corruption
    streams: tuple[Stream, ...]  # those whose rows have seen masked contexts
    trainers: tuple[str, ...]
    seeds: tuple[int, ...]
    l0s: dict[str, tuple[int, ...]]  # of each stream, the baseline too
    code: dict[str, str]

    def cell(self, stream: str, trainer: str, l0: int, seed: int) -> Cell:
        return Cell(self.run, self.model, stream, trainer, l0, seed)
