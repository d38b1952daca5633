"""What the figures share: the numbers of a configuration's cells; panels, axes and legends."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from ...activations.settings import Stream
from ...inference.settings import Shown
from ...saes.cells import Cell
from ...saes.settings import Trainer
from ...scores.metrics import ACHIEVED_L0
from ...scores.table import Scores
from ..style import ALERT, WIDTH, Look, label, looks

NOTE_INCHES, NOTE_LETTERS = 0.26, 15  # a line's height, and letters an inch
LEGEND_LETTERS = 4  # the width of a legend entry's line and of the space to the next

Floats = NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """The cells that the tables show, and their numbers; a missing number is an error."""

    scores: Scores
    shown: Shown
    trainer: Trainer

    @cached_property
    def looks(self) -> dict[str, Look]:
        return looks(self.shown.streams)

    @property
    def models(self) -> list[str]:
        """Those that some table shows."""
        return [model.name for model in self.shown.models if self.streams(model.name)]

    def streams(self, model: str) -> list[Stream]:
        return [stream for stream in self.shown.streams if self.l0s(model, stream)]

    def l0s(self, model: str, stream: Stream) -> tuple[int, ...]:
        return self.shown.l0s(model, stream.name)

    def all_streams(self) -> list[Stream]:
        used = {stream.name for model in self.models for stream in self.streams(model)}
        return [stream for stream in self.shown.streams if stream.name in used]

    def all_l0s(self, model: str) -> list[int]:
        return sorted({l0 for stream in self.streams(model) for l0 in self.l0s(model, stream)})

    def smallest(self, model: str) -> int:
        return self.all_l0s(model)[0]

    def at(self, model: str, l0: int) -> list[Stream]:
        """Streams with an SAE of this l0."""
        return [stream for stream in self.streams(model) if l0 in self.l0s(model, stream)]

    def compared(self, model: str) -> list[Stream]:
        """The streams of the first table that shows the model."""
        table = next(table for table in self.shown.tables if table.model == model)
        return [stream for stream in self.at(model, self.smallest(model)) if stream.name in table.streams]

    def cells(self, model: str, stream: Stream, l0: int) -> list[Cell]:
        """One for each seed."""
        return [self.shown.cell(model, stream.name, self.trainer.name, l0, seed) for seed in self.shown.seeds]

    def values(self, model: str, stream: Stream, l0: int, metric: str) -> Floats:
        """One for each seed."""
        return np.array([self.scores.value(cell, metric) for cell in self.cells(model, stream, l0)])

    def curve(self, model: str, stream: Stream, metric: str) -> tuple[tuple[int, ...], Floats, Floats]:
        """Over l0: l0s, means and standard deviations over seeds (nan with one seed)."""
        l0s = self.l0s(model, stream)
        values = np.array([self.values(model, stream, l0, metric) for l0 in l0s])
        return l0s, values.mean(1), spread(values)

    def achieved(self, model: str, stream: Stream) -> Floats:
        return self.curve(model, stream, ACHIEVED_L0)[1]

    def label(self, stream: Stream) -> str:
        return label(stream, self.shown.streams)


def spread(values: Floats) -> Floats:
    """Standard deviation over the last axis, the seeds."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    deviations: Floats = values.std(-1, ddof=1)
    return deviations


def new_figure(height: float, note: str, width: float = WIDTH) -> Figure:
    """`note` is printed below all panels: what these numbers are not."""
    figure = Figure(figsize=(width, height), layout="constrained")
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(w_pad=0.06, h_pad=0.05)
    if note:
        note = fill(note, int(NOTE_LETTERS * width))
        share = NOTE_INCHES * (1 + note.count("\n") / 2) / height
        engine.set(rect=(0, share, 1, 1 - share))
        figure.text(0.5, share * 0.45, note, color=ALERT, fontsize=8, fontweight="bold", ha="center", va="center")
    return figure


def l0_axis(axes: Axes, values: Sequence[int], words: str) -> None:
    """Logarithmic, with a tick at each nominal l0."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.1)
    axes.set_xlabel(words)


def points(axes: Axes, x: Any, y: Any, deviations: Floats, look: Look) -> None:
    """A curve; with several seeds, with bars of a standard deviation."""
    bars = None if np.isnan(deviations).all() else deviations
    axes.errorbar(x, y, yerr=bars, capsize=2.5, elinewidth=0.9, clip_on=False, zorder=3, **look.line)


def legend_above(figure: Figure, grid: Grid, extra: tuple[Line2D, ...] = ()) -> None:
    """One legend for all panels, in as many lines as its words need."""
    streams = grid.all_streams()
    handles = [Line2D([], [], label=grid.label(stream), **grid.looks[stream.name].line) for stream in streams]
    legend(figure, [*handles, *extra])


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    letters = max(len(str(handle.get_label())) for handle in handles) + LEGEND_LETTERS
    columns = max(1, min(len(handles), int(NOTE_LETTERS * figure.get_figwidth() / letters)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=2.6, columnspacing=1.4)
