"""How sparse the SAEs really are, and what they score at it: is it masking, or only sparsity?"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..equal_l0 import TOLERANCE, at_l0
from ..metrics import ACHIEVED_L0
from ..plan import tradeoff_tables
from ..style import GRID, MUTED, PAPER, colour, line_of
from .panels import Grid, l0_axis, legend_above, new_figure, points

COLUMNS = 3


def achieved_l0(grid: Grid, note: str) -> Figure:
    """l0 on clean text over the nominal one. Dotted: 1 / (1 - p), if masked tokens took no latents at all and left them
    to the others: all trainers but topk, which gives each token its own, hold l0 on average over tokens."""
    on_average = grid.trainer != "topk"
    figure = new_figure(3.0, note)
    panels = figure.subplots(1, len(grid.models), sharey=True, squeeze=False)[0]
    for axes, model in zip(panels, grid.models, strict=True):
        axes.axhspan(1 - TOLERANCE, 1 + TOLERANCE, color=GRID, alpha=0.7, linewidth=0, zorder=0)
        for stream in grid.streams(model):
            l0s, achieved, deviations = grid.curve(model, stream["name"], ACHIEVED_L0)
            if on_average:
                expected = {"color": colour(stream["p"]), "linewidth": 0.9, "linestyle": ":"}
                axes.axhline(1 / (1 - stream["p"]), **expected, zorder=1)
            points(axes, l0s, achieved / l0s, deviations / l0s, stream["p"])
        axes.set_title(model)
        l0_axis(axes, grid.all_l0s(model), "nominal l0")
    panels[0].set_ylabel("l0 on clean text / nominal l0")
    expected = Line2D([], [], color=MUTED, linewidth=0.9, linestyle=":", label="1 / (1 - p)")
    legend_above(figure, grid.all_streams(), (expected,) if on_average else ())
    return figure


def metrics_nominal(grid: Grid, note: str) -> Figure:
    def draw(axes: Axes, model: str, stream: dict, key: str, scaled: Callable) -> None:
        l0s, values, deviations = grid.curve(model, stream["name"], key)
        points(axes, l0s, scaled(values), 100 * deviations, stream["p"])

    return _small_multiples(grid, note, "nominal l0", draw)


def metrics_achieved(grid: Grid, note: str) -> Figure:
    """A dotted line leads from a masked SAE to the unmasked ones, interpolated at its l0."""

    def draw(axes: Axes, model: str, stream: dict, key: str, scaled: Callable) -> None:
        of = (model, stream["name"])
        nominals, values, deviations = grid.curve(*of, key)
        l0s = grid.achieved(*of)
        points(axes, l0s, scaled(values), 100 * deviations, stream["p"])
        unmasked = [other for other in grid.streams(model) if not other["p"]]
        if stream["p"] and unmasked:
            for nominal, l0, value in zip(nominals, l0s, values, strict=True):
                there = _unmasked_at(grid, model, unmasked[0]["name"], grid.values(*of, nominal, ACHIEVED_L0), key)
                if there is not None:
                    gap = {"color": colour(stream["p"]), "linewidth": 0.9, "linestyle": ":"}
                    axes.plot([l0, l0], scaled(np.array([value, there])), **gap)

    return _small_multiples(grid, note, "l0 on clean text", draw)


def _unmasked_at(grid: Grid, model: str, unmasked: str, l0s: np.ndarray, key: str) -> float | None:
    """As the tables have it: of each seed at its own l0, then the mean; None where one of them is not known."""
    nominals = grid.l0s(model, unmasked)
    known, scores = (
        np.array([grid.values(model, unmasked, each, name) for each in nominals]) for name in (ACHIEVED_L0, key)
    )
    found = [at_l0(*of_seed) for of_seed in zip(l0s, known.T, scores.T, strict=True)]
    return None if None in found else float(np.mean(found))


def _small_multiples(grid: Grid, note: str, label: str, draw: Callable) -> Figure:
    """For each model, a panel for each metric against l0."""
    shown = [(metric.label, metric.key, metric.scaled) for metric in grid.metrics()]
    shown.append(("OOD AUC", "ood.auc", lambda value: 100 * value))
    rows = -(-len(shown) // COLUMNS)
    figure = new_figure(0.4 + 1.9 * rows * len(grid.models), note)
    panels = figure.subplots(rows * len(grid.models), COLUMNS, squeeze=False)
    for number, model in enumerate(grid.models):
        of_model = panels[number * rows : (number + 1) * rows].flat
        for axes, (name, key, scaled) in zip(of_model, shown, strict=False):
            for stream in grid.streams(model):
                draw(axes, model, stream, key, scaled)
            axes.set_title(name)
            l0_axis(axes, grid.all_l0s(model), label if axes in panels[(number + 1) * rows - 1] else "")
        panels[number * rows][0].annotate(
            *(model, (0, 1)),
            xycoords="axes fraction",
            xytext=(-28, 20),
            textcoords="offset points",
            fontsize=10,
            fontweight="bold",
        )
    legend_above(figure, grid.all_streams())
    return figure


def tradeoff(grid: Grid, note: str) -> Figure:
    """Absorption against explained variance as more tokens are masked: of each table with three streams or more."""
    tables = tradeoff_tables(grid.settings["tables"])
    figure = new_figure(3.6, note, width=4.6 * len(tables))
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    absorption, variance = grid.metrics()[:2]
    for axes, table in zip(panels, tables, strict=True):
        model, l0 = table["model"], grid.smallest(table["model"])
        means = []
        for stream in sorted(map(grid.stream, table["streams"]), key=lambda stream: stream["p"]):
            keys = (variance.key, absorption.key, ACHIEVED_L0)
            x, y, l0_there = (grid.values(model, stream["name"], l0, key).mean() for key in keys)
            means.append((variance.scaled(x), absorption.scaled(y)))
            axes.plot(*means[-1], zorder=3, **line_of(stream["p"]) | {"linestyle": "none", "markersize": 7})
            words = f"p = {stream['p']:g}\nl0 {l0_there:.1f}"
            behind = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
            axes.annotate(words, means[-1], xytext=(7, 5), textcoords="offset points", fontsize=7.5, bbox=behind)
        axes.plot(*zip(*means, strict=True), color=MUTED, linewidth=1, zorder=2)
        axes.set_title(f"{model}, nominal l0 = {l0}")
        axes.set_xlabel("explained variance, %")
        axes.set_ylabel("mean full absorption, 100 x (1 - score)")
        axes.margins(0.22)
    return figure
