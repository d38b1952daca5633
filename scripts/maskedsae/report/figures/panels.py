"""What the figures share: the numbers of a configuration's cells, and panels, axes and legends."""

from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from ...grid import by_name, needed_l0s
from ..metrics import ACHIEVED_L0, paper_metrics
from ..scores import Scores
from ..style import ALERT, WIDTH, line_of

NOTE_INCHES, NOTE_LETTERS = 0.26, 15  # a line's height, and letters an inch


@dataclass(frozen=True)
class Grid:
    """The cells that the tables show, and their numbers: asked for by name, and an error if one is not there."""

    scores: Scores
    settings: dict  # grid.figure_settings
    trainer: str

    @property
    def models(self) -> list[str]:
        """Those that some table shows."""
        return [model["name"] for model in self.settings["models"] if self.streams(model["name"])]

    def streams(self, model: str) -> list[dict]:
        return [stream for stream in self.settings["streams"] if self.l0s(model, stream["name"])]

    def l0s(self, model: str, stream: str) -> list[int]:
        return sorted(needed_l0s(self.settings, model, stream))

    def all_streams(self) -> list[dict]:
        shown = {stream["name"] for model in self.models for stream in self.streams(model)}
        return [stream for stream in self.settings["streams"] if stream["name"] in shown]

    def all_l0s(self, model: str) -> list[int]:
        return sorted({l0 for stream in self.streams(model) for l0 in self.l0s(model, stream["name"])})

    def smallest(self, model: str) -> int:
        return self.all_l0s(model)[0]

    def at(self, model: str, l0: int) -> list[dict]:
        """Streams with an SAE of this l0."""
        return [stream for stream in self.streams(model) if l0 in self.l0s(model, stream["name"])]

    def compared(self, model: str) -> list[dict]:
        """The streams of the first table that shows the model."""
        table = next(table for table in self.settings["tables"] if table["model"] == model)
        return [stream for stream in self.at(model, self.smallest(model)) if stream["name"] in table["streams"]]

    def values(self, model: str, stream: str, l0: int, metric: str) -> np.ndarray:
        """One for each seed."""
        seeds = self.settings["seeds"]
        return np.array([self.scores.value(model, stream, self.trainer, l0, seed, metric) for seed in seeds])

    def curve(self, model: str, stream: str, metric: str) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Over l0: l0s, means and standard deviations over seeds (nan where there is one)."""
        l0s = self.l0s(model, stream)
        values = np.array([self.values(model, stream, l0, metric) for l0 in l0s])
        return l0s, values.mean(1), spread(values)

    def metrics(self) -> list:
        return paper_metrics(self.settings["report"])

    def stream(self, name: str) -> dict:
        return by_name(self.settings["streams"], name)

    def achieved(self, model: str, stream: str) -> np.ndarray:
        return self.curve(model, stream, ACHIEVED_L0)[1]


def spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the last axis, the seeds."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    return values.std(-1, ddof=1)


def new_figure(height: float, note: str, width: float = WIDTH) -> Figure:
    """`note` stands below all panels: what these numbers are not."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.05)
    if note:
        note = fill(note, int(NOTE_LETTERS * width))
        share = NOTE_INCHES * (1 + note.count("\n") / 2) / height
        figure.get_layout_engine().set(rect=(0, share, 1, 1 - share))
        figure.text(0.5, share * 0.45, note, color=ALERT, fontsize=8, fontweight="bold", ha="center", va="center")
    return figure


def name_of(stream: dict) -> str:
    return f"masked, p = {stream['p']:g}" if stream["p"] else "without masking"


def l0_axis(axes: Axes, values: list[int], label: str) -> None:
    """Logarithmic, with a tick at each nominal l0."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.1)
    axes.set_xlabel(label)


def points(axes: Axes, x, y, deviations, p: float) -> None:
    """A curve; with bars of a standard deviation where there are several seeds."""
    bars = None if np.isnan(deviations).all() else deviations
    axes.errorbar(x, y, yerr=bars, capsize=2.5, elinewidth=0.9, clip_on=False, zorder=3, **line_of(p))


def legend_above(figure: Figure, streams: list[dict], extra: tuple[Line2D, ...] = ()) -> None:
    """One legend for all panels."""
    handles = [Line2D([], [], label=name_of(stream), **line_of(stream["p"])) for stream in streams]
    handles += extra
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handlelength=2.6, columnspacing=1.4)
