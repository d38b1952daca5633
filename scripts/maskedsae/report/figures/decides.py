"""The figures that decide: each score against the l0 that SAEs really have, and what masking changes, taken apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...activations.settings import Stream
from ...inference.arms import Sae, Values, arm_of
from ...inference.contrasts import Contrast
from ...inference.questions import masked, metric_of, question
from ...inference.settings import Shown, ShownModel, ShownSae
from ...inference.statistics import estimate
from ...jobs.errors import InputError
from ...saes.settings import Trainer
from ...scores.metrics import ACHIEVED_L0, Metric
from ...scores.table import Scores
from ..contents import CONTRASTS
from ..style import GRID, INK, MUTED, Look, imported_line, label, looks
from .panels import NOTE_LETTERS, l0_axis, new_figure

COLUMNS = 3  # where one trainer is shown
MOST_TICKS = 7  # for whose labels a panel has room


@dataclass(frozen=True)
class Panel:
    """One endpoint of one model and trainer."""

    axes: Axes
    model: ShownModel
    trainer: Trainer
    metric: Metric
    name: str  # the endpoint's
    last: bool  # of its column


def decides(shown: Shown, scores: Scores, note: str) -> Figure:
    """The baseline's curve with the 95% interval of its mean over data seeds; other streams as points with theirs.
    Imported SAEs in grey, those of a group joined."""
    figure, panels = _panels(shown, note, 1.75, imported=True)
    values, seen = Values(shown, scores), looks(shown.streams)
    drawn: list[Stream] = []
    known = groups(shown.imported).items()
    grey = {name: imported_line(number, joined=len(saes) > 1) for number, (name, saes) in enumerate(known)}
    for panel in panels:
        measured = _imported(panel, shown, scores, grey)
        for stream in shown.streams:
            l0s = shown.compared_l0s(panel.model.name, stream)
            if l0s:
                saes = [Sae(panel.model.name, panel.trainer.name, stream.name, l0) for l0 in l0s]
                _stream(panel, values, saes, stream, seen[stream.name])
                drawn += [] if stream in drawn else [stream]
        baseline = shown.baseline
        nominal = shown.compared_l0s(panel.model.name, baseline) if baseline else shown.l0
        l0_axis(panel.axes, _ticks(nominal, measured), "l0 on clean text" if panel.last else "")
        panel.axes.margins(y=0.12)
    words = {stream.name: _words(shown, stream) for stream in drawn}
    handles = [Line2D([], [], label=words[stream.name], **_look(seen[stream.name], stream)) for stream in drawn]
    handles += [Line2D([], [], label=name, **line) for name, line in grey.items()]
    _legend(figure, handles)
    return figure


def groups(saes: Sequence[ShownSae]) -> dict[str, list[ShownSae]]:
    """By the name that the legend has: of the group, or of an SAE that is in none."""
    found: dict[str, list[ShownSae]] = {}
    for sae in saes:
        found.setdefault(sae.group or sae.name, []).append(sae)
    return found


def _imported(panel: Panel, shown: Shown, scores: Scores, grey: Mapping[str, dict[str, Any]]) -> list[float]:
    """Draws those of the panel's model; their l0s."""
    l0s = []
    for name, saes in groups([sae for sae in shown.imported if sae.model == panel.model.name]).items():
        known = [shown.sae(sae) for sae in saes]
        points = sorted(
            (scores.value(sae, ACHIEVED_L0), panel.metric.scaled(scores.value(sae, panel.metric.key))) for sae in known
        )
        panel.axes.plot(*zip(*points, strict=True), zorder=2, **grey[name])
        l0s += [l0 for l0, _ in points]
    return l0s


def _ticks(nominal: Sequence[int], measured: Sequence[float]) -> list[int]:
    """The nominal l0s, and beyond them doubled or halved ones, as far as imported SAEs reach."""
    ticks = list(nominal) or [20]
    low, high = min(measured, default=ticks[0]), max(measured, default=ticks[-1])
    while ticks[-1] * 1.3 < high:
        ticks.append(2 * ticks[-1])
    while ticks[0] > 1.3 * low and ticks[0] % 2 == 0:
        ticks.insert(0, ticks[0] // 2)
    while len(ticks) > MOST_TICKS:
        ticks = ticks[::2]
    return ticks


def _stream(panel: Panel, values: Values, saes: Sequence[Sae], stream: Stream, look: Look) -> None:
    found = [estimate(values.of(sae, panel.metric)) for sae in saes]
    l0s = [float(np.mean(values.l0(sae))) for sae in saes]
    order = np.argsort(l0s)
    x, y = np.array(l0s)[order], np.array([one.mean for one in found])[order]
    low, high = (np.array([getattr(one, end) for one in found])[order] for end in ("low", "high"))
    if stream.is_baseline:
        panel.axes.fill_between(x, low, high, color=look.light, alpha=0.18, linewidth=0, zorder=1)
        panel.axes.plot(x, y, zorder=2, **_look(look, stream))
        return
    bars = None if np.isnan(low).any() else np.array([y - low, high - y])
    panel.axes.errorbar(x, y, yerr=bars, capsize=2, elinewidth=0.9, zorder=3, **_look(look, stream))


def _look(look: Look, stream: Stream) -> dict[str, Any]:
    """Only the baseline's points are joined: the others are compared with its curve."""
    return look.line if stream.is_baseline else look.line | {"linestyle": "none"}


def _words(shown: Shown, stream: Stream) -> str:
    """The caption says what the arms are."""
    arm = arm_of(stream)
    if arm in (None, "paper") or stream.corruption is None:
        return label(stream, shown.streams)
    return f"{arm} ({stream.corruption.done}, p = {stream.p:g})"


def taken_apart(shown: Shown, rows: Sequence[Contrast], note: str) -> Figure:
    """Each contrast in points with its 95% interval; the margin shaded. At each model's smallest nominal l0."""
    known = {(row.model, row.trainer, row.endpoint, row.question, row.contrast): row for row in rows}
    figure, panels = _panels(shown, note, 1.6, sharex="row" if len(shown.trainers) > 1 else False)
    seen = looks(shown.streams)
    made = {(row.model, row.contrast) for row in rows if row.n}
    drawn: list[Stream] = []
    for panel in panels:
        names = [name for name in CONTRASTS if (panel.model.name, name) in made]
        margin = shown.analysis.endpoints[panel.name].margin
        panel.axes.axvspan(-margin, margin, color=GRID, alpha=0.8, linewidth=0, zorder=0)
        panel.axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
        asked = list(_asked(shown, panel.model.name))
        for place, (stream, l0) in enumerate(asked):
            about = (panel.model.name, panel.trainer.name, panel.name)
            name_of_question = question(shown, *about, stream.name, l0).name
            shift = 0.5 * (place - (len(asked) - 1) / 2) / len(asked)
            for line, name in enumerate(names):
                row = known.get((*about, name_of_question, name))
                if row is not None and row.n:
                    bars = None if np.isnan(row.low) else [[row.mean - row.low], [row.high - row.mean]]
                    look = seen[stream.name].line | {"linestyle": "none", "markersize": 4}
                    panel.axes.errorbar([row.mean], [line + shift], xerr=bars, capsize=2, elinewidth=0.9, **look)
            drawn += [] if stream in drawn else [stream]
        panel.axes.set_yticks(range(len(names)))
        panel.axes.set_ylim(len(names) - 0.4, -0.6)
        panel.axes.set_xlabel("points" if panel.last else "")
        first = panel.axes.get_subplotspec()
        if first is not None and first.is_first_col():
            panel.axes.set_yticklabels([CONTRASTS[name] for name in names])
        else:
            panel.axes.set_yticklabels([])
        panel.axes.grid(visible=False, axis="y")
    handles: list[Any] = [
        Line2D([], [], label=label(stream, shown.streams), **seen[stream.name].line | {"linestyle": "none"})
        for stream in drawn
    ]
    _legend(figure, [*handles, Patch(color=GRID, label="the margin: counts as none")])
    return figure


def _asked(shown: Shown, model: str) -> Iterator[tuple[Stream, int]]:
    """The masked streams, each with the smallest nominal l0 that it has with the baseline."""
    found: dict[str, tuple[Stream, int]] = {}
    for stream, l0 in masked(shown, model):
        found.setdefault(stream.name, (stream, l0))
    yield from found.values()


def _panels(
    shown: Shown, note: str, height: float, sharex: Literal["row"] | bool = False, imported: bool = False
) -> tuple[Figure, list[Panel]]:
    """For each model: a row for each endpoint, a column for each trainer; with one trainer, endpoints in columns.
    `imported`: also models that have imported SAEs alone."""
    also = {sae.model for sae in shown.imported if imported}
    models = [
        model
        for model in shown.models
        if model.name in also or any(shown.compared_l0s(model.name, s) for s in shown.streams)
    ]
    endpoints = {
        model.name: [name for name in shown.analysis.endpoints if metric_of(shown, name).file in model.scores]
        for model in models
    }
    models = [model for model in models if endpoints[model.name]]
    if not models:
        raise InputError(
            "analysis.endpoints: no model has a score that they name, so nothing can be drawn: set them to null"
        )
    several = len(shown.trainers) > 1
    columns = len(shown.trainers) if several else min(COLUMNS, max(map(len, endpoints.values())))
    rows = {name: len(found) if several else -(-len(found) // columns) for name, found in endpoints.items()}
    total = sum(rows.values())
    figure = new_figure(0.6 + height * total, note)
    axes = figure.subplots(total, columns, squeeze=False, sharex=sharex)
    panels, top = [], 0
    for model in models:
        bottom = top + rows[model.name] - 1
        shown_here = endpoints[model.name]
        for place, name in enumerate(shown_here):
            for number, trainer in enumerate(shown.trainers):
                row, column = (top + place, number) if several else (top + place // columns, place % columns)
                metric = metric_of(shown, name)
                last = row == bottom or (not several and place + columns >= len(shown_here))
                panels.append(Panel(axes[row][column], model, trainer, metric, name, last))
                if not several:
                    axes[row][column].set_title(metric.label)
                elif not place:
                    axes[row][column].set_title(trainer.name)
                if several and not column:
                    axes[row][column].set_ylabel(fill(metric.label, 16), fontweight="bold")
        axes[top][0].annotate(
            *(model.name, (0, 1)),
            xycoords="axes fraction",
            xytext=(-28, 20),
            textcoords="offset points",
            fontsize=10,
            fontweight="bold",
            color=INK,
        )
        top = bottom + 1
    for unused in set(axes.flat) - {panel.axes for panel in panels}:
        unused.set_axis_off()
    return figure, panels


def _legend(figure: Figure, handles: Sequence[Any]) -> None:
    letters = max(len(str(handle.get_label())) for handle in handles) + 4
    columns = max(1, min(len(handles), int(NOTE_LETTERS * figure.get_figwidth() / letters)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=2.6, columnspacing=1.4)
