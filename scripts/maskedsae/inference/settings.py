"""What a run compares and shows: from the configuration, never from what happens to exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..activations.settings import Stream
from ..saes.cells import Cell
from ..saes.settings import Trainer
from ..scores.metrics import Metric, paper_metrics


@dataclass(frozen=True)
class ReportChoices:
    """Which of SAEBench's numbers the tables show: section `report` of the configuration."""

    explained_variance: str
    n: int
    k: int

    @property
    def metrics(self) -> list[Metric]:
        return paper_metrics(self.explained_variance, self.n, self.k)


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
    tokens: int
    saebench: dict[str, Any]
    ood: dict[str, Any]
    report: ReportChoices
    demo: bool

    @property
    def baseline(self) -> Stream | None:
        """The stream without corruption."""
        return next((stream for stream in self.streams if stream.is_baseline), None)

    def stream(self, name: str) -> Stream:
        return next(stream for stream in self.streams if stream.name == name)

    def l0s(self, model: str, stream: str) -> tuple[int, ...]:
        return needed_l0s(self.tables, model, stream)

    def cell(self, model: str, stream: str, trainer: str, l0: int, seed: int) -> Cell:
        return Cell(self.run, model, stream, trainer, l0, seed)


def needed_l0s(tables: Sequence[ShownTable], model: str, stream: str) -> tuple[int, ...]:
    """The l0s at which some table shows this stream of this model, from the smallest."""
    found = {l0 for table in tables if table.model == model and stream in table.streams for l0 in table.l0}
    return tuple(sorted(found))


@dataclass(frozen=True)
class TableSettings:
    """For the tables, the verdicts and the terminal's summary."""

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
