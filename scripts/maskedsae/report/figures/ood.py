"""Probes out of distribution: Figure 1 of the paper, the same by data set, and against the number of latents."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from ...activations.settings import Stream
from ...jobs.errors import InputError
from ...scores.ood.compactness import SHARE
from ...scores.ood.datasets import LABELS
from ..style import GRID, INK, MUTED, PAPER
from ..writers import MINUS
from .panels import Grid, legend_above, new_figure, points, spread

CHANCE = 0.5
HATCHES = ("", "////", "xxxx", "....")
Difference = dict[str, Any]  # one of ood_differences.json

ORACLE: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": (0, (5, 2))}
NEARLY: dict[str, Any] = {"color": MUTED, "linewidth": 1, "linestyle": (0, (2, 2))}


def figure1(grid: Grid, note: str, differences: list[Difference]) -> Figure:
    """Mean OOD AUC at the smallest l0: a bar for each stream of the model's table, the oracle as a line."""
    figure = new_figure(3.2, note)
    panels = figure.subplots(1, len(grid.models), sharey=True, squeeze=False)[0]
    for axes, model in zip(panels, grid.models, strict=True):
        _bars(axes, grid, model, differences)
    panels[0].set_ylabel("mean OOD AUC of eight data sets")
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(min(low, CHANCE), high + 0.1 * (high - CHANCE))
    return figure


def _bars(axes: Axes, grid: Grid, model: str, differences: list[Difference]) -> None:
    l0, streams = grid.smallest(model), grid.compared(model)
    for place, stream in enumerate(streams):
        mean = grid.values(model, stream, l0, "ood.auc").mean()
        low, high = error_bar(grid, model, stream, l0)
        looks: dict[str, Any] = {"color": grid.looks[stream.name].light, "edgecolor": INK, "linewidth": 0.7}
        hatch: dict[str, Any] = {"hatch": HATCHES[min(place, 3)], "hatchcolor": PAPER}
        axes.bar(place, mean - CHANCE, bottom=CHANCE, width=0.56, **looks, **hatch)
        axes.errorbar(place, mean, yerr=[[mean - low], [high - mean]], color=INK, capsize=3.5, elinewidth=1, zorder=4)
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
        words: dict[str, Any] = {"ha": "center", "fontweight": "bold", "zorder": 5, "bbox": box}
        axes.annotate(f"{mean:.3f}", (place, max(high, mean)), xytext=(0, 4), textcoords="offset points", **words)
    oracle = grid.scores.oracle(model)
    axes.axhline(oracle, **ORACLE, zorder=2.5)
    at_the_right: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "zorder": 5}
    axes.annotate(f"oracle {oracle:.3f}", (1, oracle), xytext=(0, 2.5), textcoords="offset points", **at_the_right)
    axes.set_title(f"{model}, l0 = {l0}")
    gains = [gain(differences, grid, model, stream, l0) for stream in streams]
    names = [f"{fill(grid.label(stream), 26)}\n{gained}" for stream, gained in zip(streams, gains, strict=True)]
    axes.set_xticks(range(len(streams)), names, linespacing=1.5)
    axes.set_xlim(-0.55, len(streams) - 0.1)
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")


def gain(differences: list[Difference], grid: Grid, model: str, stream: Stream, l0: int) -> str:
    """Over the baseline SAE of the same l0 and seed: mean, and standard deviation or interval as in `error_bar`."""
    cells = {cell_key(difference): difference["ood"] for difference in differences}
    wanted = [(model, stream.name, grid.trainer.name, l0, seed) for seed in grid.shown.seeds]
    if not any(key in cells for key in wanted):
        return ""
    for key in wanted:
        if key not in cells:
            raise InputError(
                f"ood_differences.json: nothing about {model} {stream.name} l0 {l0} seed {key[-1]}: make it again"
            )
    means = np.array([cells[key]["mean"] for key in wanted])
    low, high = cells[wanted[0]]["interval"]
    words = f"{means[0]:+.3f} [{low:+.3f}, {high:+.3f}]"
    if len(means) > 1:
        words = f"{means.mean():+.3f} (sd {spread(means):.3f})"
    return words.replace("-", MINUS)


def cell_key(difference: Difference) -> tuple[Any, ...]:
    return tuple(difference[name] for name in ("model", "stream", "trainer", "l0", "seed"))


def error_bar(grid: Grid, model: str, stream: Stream, l0: int) -> tuple[float, float]:
    """With several seeds, a standard deviation to each side; with one, the 95% interval over test rows."""
    values = grid.values(model, stream, l0, "ood.auc")
    if len(values) > 1:
        return values.mean() - spread(values), values.mean() + spread(values)
    low, high = (float(grid.values(model, stream, l0, f"ood.auc_{end}").mean()) for end in ("low", "high"))
    return low, high


def auc_by_k(grid: Grid, note: str, asked: Sequence[int]) -> Figure:
    """AUC against the number of latents that the probe is given, out of and in distribution, at the smallest l0."""
    figure = new_figure(4.6, note)
    panels = figure.subplots(2, len(grid.models), sharex="col", sharey="row", squeeze=False)
    ks = sorted(asked)
    tests = (("auc", "out of distribution"), ("in_distribution_auc", "in distribution"))
    for row, (test, words) in zip(panels, tests, strict=True):
        for axes, model in zip(row, grid.models, strict=True):
            l0 = grid.smallest(model)
            for stream in grid.at(model, l0):
                values = [grid.values(model, stream, l0, f"ood.{test}_top_{k}") for k in ks]
                means = [aucs.mean() for aucs in values]
                points(axes, ks, means, spread(np.array(values)), grid.looks[stream.name])
            oracle = grid.scores.oracle(model, f"oracle.{test}")
            axes.axhline(oracle, **ORACLE, zorder=2)
            axes.axhline(SHARE * oracle, **NEARLY, zorder=2)
            axes.set_xscale("log", base=2)
            axes.set_xticks(ks, [str(k) for k in ks])
            axes.xaxis.set_minor_locator(NullLocator())
        row[0].set_ylabel(f"mean AUC, {words}")
    for axes, model in zip(panels[0], grid.models, strict=True):
        axes.set_title(f"{model}, l0 = {grid.smallest(model)}")
    for axes in panels[-1]:
        axes.set_xlabel("latents given to the probe (k)")
    dashed, dotted = Line2D([], [], **ORACLE, label="oracle"), Line2D([], [], **NEARLY, label=f"{SHARE:.0%} of it")
    legend_above(figure, grid, (dashed, dotted))
    return figure


def ood_datasets(grid: Grid, note: str) -> Figure:
    """Each data set's OOD AUC at the smallest l0, with its interval."""
    names = list(LABELS)
    figure = new_figure(4.4, note)
    panels = figure.subplots(1, len(grid.models), sharex=True, sharey=True, squeeze=False)[0]
    for axes, model in zip(panels, grid.models, strict=True):
        l0 = grid.smallest(model)
        streams = grid.at(model, l0)
        for row, name in enumerate(names):
            for place, stream in enumerate(streams):
                y = row + 0.22 * (place - (len(streams) - 1) / 2)
                keys = (f"ood.{name}.auc{end}" for end in ("", "_low", "_high"))
                mean, low, high = (grid.values(model, stream, l0, key).mean() for key in keys)
                shown = grid.looks[stream.name].line | {"linestyle": "none"}
                axes.errorbar(mean, y, xerr=[[mean - low], [high - mean]], elinewidth=0.9, zorder=3, **shown)
            oracle = grid.scores.oracle(model, f"oracle.{name}.auc")
            axes.plot([oracle, oracle], [row - 0.36, row + 0.36], color=INK, linewidth=1.6, zorder=2)
        axes.axvline(CHANCE, color=MUTED, linewidth=0.8, zorder=1)
        axes.set_title(f"{model}, l0 = {l0}")
        axes.set_xlabel("OOD AUC")
        axes.grid(False, axis="y")
        for row in range(1, len(names), 2):
            axes.axhspan(row - 0.5, row + 0.5, color=GRID, alpha=0.35, linewidth=0, zorder=0)
    panels[0].set_yticks(range(len(names)), [name.split("_", 1)[1].replace("_", " ") for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    stroke = Line2D([], [], color=INK, linewidth=0, marker="|", markersize=9, markeredgewidth=1.6, label="oracle")
    legend_above(figure, grid, (stroke,))
    return figure
