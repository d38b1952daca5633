"""Training curves, from the cells' training.csv: of one trainer, and of two beside each other."""

import csv
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ...inference.arms import arm_of
from ...inference.settings import Shown
from ...jobs.errors import InputError
from ...saes.cells import Cell
from ...saes.settings import WINDOW
from ..style import MUTED, label, looks
from .panels import Floats, Grid, legend, new_figure

POINTS = 150  # of a curve; more rows are averaged in blocks
SHOWN = {
    "loss": "loss",
    "explained_variance": "explained variance",
    "l0": "l0 on the training text",
    "dead_latents": "dead latents",
}
DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.5)), (0, (1, 1)))


def training(grid: Grid, note: str, files: dict[Cell, str]) -> Figure:
    """`files`: each cell's training.csv."""
    figure = new_figure(7.6, note)
    panels = figure.subplots(len(SHOWN), len(grid.models), sharex="col", squeeze=False)
    for column, model in zip(panels.T, grid.models, strict=True):
        for stream in grid.streams(model):
            for l0 in grid.l0s(model, stream):
                for cell in grid.cells(model, stream, l0):
                    curves = read_curves(files[cell])
                    for axes, name in zip(column, SHOWN, strict=True):
                        look = {"color": grid.looks[stream.name].light, "linestyle": _dashes(grid)[l0], "linewidth": 1}
                        axes.plot(curves["tokens"], curves[name], **look)
        column[0].set_title(model)
        column[0].set_yscale("log")
        column[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        column[0].yaxis.set_major_formatter("{x:g}")
        column[0].yaxis.set_minor_locator(NullLocator())
        column[1].set_ylim(_settled(column[1]), 1)
        column[-1].set_xlabel("tokens")
        column[-1].xaxis.set_major_formatter(FuncFormatter(in_millions))
    for axes, words in zip(panels[:, 0], SHOWN.values(), strict=True):
        axes.set_ylabel(words)
    figure.align_ylabels(panels[:, 0])
    looks: dict[str, dict[str, Any]] = {
        grid.label(stream): {"color": grid.looks[stream.name].light} for stream in grid.all_streams()
    }
    looks |= {f"l0 = {words}": {"color": MUTED, "linestyle": dashes} for words, dashes in _dashes(grid).items()}
    handles = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=2.6)
    return figure


def convergence(shown: Shown, note: str, files: dict[Cell, str]) -> Figure:
    """Of two trainers, the loss and its variance, averaged over seeds; at the smallest l0 that each stream has. Streams
    that only take another apart are left out."""
    panels_of = {"loss": "loss", "loss_variance": f"its variance over {WINDOW} steps"}
    models = [model.name for model in shown.models if any(cell.model == model.name for cell in files)]
    there = {cell.stream for cell in files}
    streams = [stream for stream in shown.streams if stream.name in there and arm_of(stream) in (None, "paper")]
    trainers, seen = shown.report.convergence, looks(shown.streams)
    dashes = dict(zip(trainers, DASHES[::2], strict=True))
    figure = new_figure(4.6, note)
    panels = figure.subplots(len(panels_of), len(models), sharex="col", squeeze=False)
    for column, model in zip(panels.T, models, strict=True):
        for stream, trainer in product(streams, trainers):
            cells = [cell for cell in files if (cell.model, cell.stream, cell.trainer) == (model, stream.name, trainer)]
            smallest = min((cell.l0 for cell in cells), default=None)
            curves = [read_curves(files[cell], tuple(panels_of)) for cell in cells if cell.l0 == smallest]
            for axes, name in zip(column, panels_of, strict=True):
                if curves:
                    means = np.mean([curve[name] for curve in curves], axis=0)
                    means = np.where(means > 0, means, np.nan)  # one loss has the variance 0, which no logarithm has
                    look = {"color": seen[stream.name].light, "linestyle": dashes[trainer], "linewidth": 1.2}
                    axes.plot(curves[0]["tokens"], means, **look)
        column[0].set_title(model)
        for axes in column:
            axes.set_yscale("log")
        column[-1].set_xlabel("tokens")
        column[-1].xaxis.set_major_formatter(FuncFormatter(in_millions))
    for axes, words in zip(panels[:, 0], panels_of.values(), strict=True):
        axes.set_ylabel(words)
    figure.align_ylabels(panels[:, 0])
    marks: dict[str, dict[str, Any]] = {
        label(stream, shown.streams): {"color": seen[stream.name].light} for stream in streams
    }
    marks |= {trainer: {"color": MUTED, "linestyle": dashes[trainer]} for trainer in trainers}
    handles = [Line2D([], [], label=words, **look) for words, look in marks.items()]
    legend(figure, handles)
    return figure


def _settled(axes: Axes) -> float:
    """The lowest value after a tenth of the training: its start would press the rest to the upper edge."""
    curves: list[Floats] = [np.asarray(line.get_ydata()) for line in axes.get_lines()]
    lowest: float = min(curve[len(curve) // 10 :].min() for curve in curves)
    return lowest - 0.05 * (1 - lowest)


def _dashes(grid: Grid) -> dict[int, Any]:
    l0s = sorted({l0 for model in grid.models for l0 in grid.all_l0s(model)})
    return {l0: DASHES[number % len(DASHES)] for number, l0 in enumerate(l0s)}


def in_millions(tokens: float, _: object = None) -> str:
    return f"{tokens / 1e6:g}M" if tokens else "0"


def read_curves(path: str | Path, columns: Sequence[str] = tuple(SHOWN)) -> dict[str, Floats]:
    """{column: values}, in blocks of rows averaged to at most POINTS."""
    names = ("tokens", *columns)
    try:
        with open(path, newline="") as file:
            rows = [[float(line[name]) for name in names] for line in csv.DictReader(file)]
    except FileNotFoundError:
        raise InputError(f"{path}: missing: ask Snakemake for it, and its job says why it cannot be made") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not of the form of a training.csv ({error!r}): train this SAE again") from error
    if not rows:
        raise InputError(f"{path}: no row in it: train this SAE again")
    blocks = np.array_split(np.array(rows), min(POINTS, len(rows)))
    return dict(zip(names, np.array([block.mean(0) for block in blocks]).T, strict=True))
