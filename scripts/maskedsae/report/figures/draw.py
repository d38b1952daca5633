"""Drawing one figure of a run, by its name."""

from matplotlib.figure import Figure

from ...inference.contrasts import read_contrasts
from ...jobs.files import read_list
from ...jobs.log import log
from ...saes.cells import Cell
from ...scores.table import Scores, read_rows
from ..contents import FIGURES
from ..settings import FigureSettings
from ..style import style, write
from ..tables import DEMO
from . import decides, ood, sparsity, training
from .panels import Grid

# Those that need only the scores.
DRAWN = {
    "achieved_l0": sparsity.achieved_l0,
    "metrics_nominal": sparsity.metrics_nominal,
    "tradeoff": sparsity.tradeoff,
    "ood_datasets": ood.ood_datasets,
}


def draw(inputs: dict[str, str | list[str]], settings: FigureSettings, to: list[str]) -> None:
    """`inputs`: scores, and what else the figure shows, by name."""
    drawn = figure(inputs, settings)
    with style(settings.figure):  # sets the files' fonts and ids
        write(drawn, to)
    log.info("%s: %s", to[0], FIGURES[settings.figure])


def figure(inputs: dict[str, str | list[str]], settings: FigureSettings) -> Figure:
    shown, name = settings.shown, settings.figure
    note = DEMO if shown.demo else ""
    with style(name):
        if name == "taken_apart":
            return decides.taken_apart(shown, read_contrasts(str(inputs["contrasts"])), note)
        if name == "convergence":
            return training.convergence(shown, note, {Cell.parse(path): path for path in inputs["curves"]})
        scores = Scores(read_rows(str(inputs["scores"])))
        if name == "decides":
            return decides.decides(shown, scores, note)
        grid = Grid(scores, shown, next(trainer for trainer in shown.trainers if trainer.name == settings.trainer))
        if name == "figure1":
            return ood.figure1(grid, note, read_list(str(inputs["differences"])))
        if name == "training":
            return training.training(grid, note, {Cell.parse(path): path for path in inputs["curves"]})
        if name == "auc_by_k":
            return ood.auc_by_k(grid, note, settings.ks)
        return DRAWN[name](grid, note)
