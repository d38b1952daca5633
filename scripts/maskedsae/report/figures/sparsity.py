"""The l0 that SAEs have on clean text, and their scores at that l0: is it masking, or only sparsity?"""

from collections.abc import Callable, Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...activations.settings import Stream
from ...inference.equal_l0 import TOLERANCE
from ...scores.metrics import ACHIEVED_L0, OOD, Metric
from ..contents import is_tradeoff
from ..style import GRID, MUTED, PAPER
from ..tables import head
from .panels import Grid, l0_axis, legend_above, new_figure, points

COLUMNS = 3


def scaled(metric: Metric, values: Iterable[float]) -> list[float]:
    return [metric.scaled(value) for value in values]


def achieved_l0(grid: Grid, note: str) -> Figure:
    """l0 on clean text over the nominal one. Dotted: 1 / (1 - p), as if masked tokens left all their latents to the
    others. That is possible for trainers that hold l0 on average over tokens, but not for topk."""
    on_average = grid.trainer.shares_latents
    figure = new_figure(3.0, note)
    panels = figure.subplots(1, len(grid.models), sharey=True, squeeze=False)[0]
    for axes, model in zip(panels, grid.models, strict=True):
        axes.axhspan(1 - TOLERANCE, 1 + TOLERANCE, color=GRID, alpha=0.7, linewidth=0, zorder=0)
        for stream in grid.streams(model):
            l0s, achieved, deviations = grid.curve(model, stream, ACHIEVED_L0)
            look = grid.looks[stream.name]
            if on_average and stream.as_in_the_paper:
                expected = {"color": look.light, "linewidth": 0.9, "linestyle": ":"}
                axes.axhline(1 / (1 - stream.p), **expected, zorder=1)
            points(axes, l0s, achieved / l0s, deviations / l0s, look)
        axes.set_title(model)
        l0_axis(axes, grid.all_l0s(model), "nominal l0")
    panels[0].set_ylabel("l0 on clean text / nominal l0")
    dotted = Line2D([], [], color=MUTED, linewidth=0.9, linestyle=":", label="1 / (1 - p)")
    legend_above(figure, grid, (dotted,) if on_average else ())
    return figure


def metrics_nominal(grid: Grid, note: str) -> Figure:
    def draw(axes: Axes, model: str, stream: Stream, metric: Metric) -> None:
        l0s, values, deviations = grid.curve(model, stream, metric.key)
        points(axes, l0s, scaled(metric, values), metric.scale * deviations, grid.looks[stream.name])

    return _small_multiples(grid, note, "nominal l0", draw)


def _small_multiples(grid: Grid, note: str, label: str, draw: Callable[[Axes, str, Stream, Metric], None]) -> Figure:
    """For each model, a panel for each metric against l0."""
    shown = [*grid.shown.report.all_metrics, OOD]
    rows = -(-len(shown) // COLUMNS)
    figure = new_figure(0.4 + 1.7 * rows * len(grid.models), note)
    panels = figure.subplots(rows * len(grid.models), COLUMNS, squeeze=False)
    for number, model in enumerate(grid.models):
        model_panels = panels[number * rows : (number + 1) * rows].flat
        for axes, metric in zip(model_panels, shown, strict=False):
            for stream in grid.streams(model):
                draw(axes, model, stream, metric)
            axes.set_title(metric.label)
            l0_axis(axes, grid.all_l0s(model), label if axes in panels[(number + 1) * rows - 1] else "")
        panels[number * rows][0].annotate(
            *(model, (0, 1)),
            xycoords="axes fraction",
            xytext=(-28, 20),
            textcoords="offset points",
            fontsize=10,
            fontweight="bold",
        )
    legend_above(figure, grid)
    return figure


def tradeoff(grid: Grid, note: str) -> Figure:
    """Absorption against explained variance as more tokens are masked, for each table with three streams or more. A
    line joins the baseline and the paper's masks, and no other streams."""
    tables = [table for table in grid.shown.tables if is_tradeoff(table.streams)]
    figure = new_figure(3.6, note, width=4.6 * len(tables))
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    absorption, variance = grid.shown.report.metrics[:2]
    for axes, table in zip(panels, tables, strict=True):
        model, l0, joined = table.model, table.l0[0], []
        streams = sorted(map(grid.shown.stream, table.streams), key=lambda stream: stream.p)
        for stream in streams:
            keys = (variance.key, absorption.key, ACHIEVED_L0)
            x, y, l0_achieved = (grid.values(model, stream, l0, key).mean() for key in keys)
            place = (variance.scaled(x), absorption.scaled(y))
            joined += [place] if stream.as_in_the_paper else []
            axes.plot(*place, zorder=3, **grid.looks[stream.name].line | {"linestyle": "none", "markersize": 7})
            words = f"{head(stream, streams)}\nl0 {l0_achieved:.1f}"
            behind = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
            axes.annotate(words, place, xytext=(7, 5), textcoords="offset points", fontsize=7.5, bbox=behind)
        axes.plot(*zip(*joined, strict=True), color=MUTED, linewidth=1, zorder=2)
        axes.set_title(f"{model}, nominal l0 = {l0}")
        axes.set_xlabel("explained variance, %")
        axes.set_ylabel("mean full absorption, 100 x (1 - score)")
        axes.margins(0.22)
    return figure
