"""Drawing one figure of a run, by its name."""

from matplotlib.figure import Figure

from ...files import read_json
from ...progress import log
from ..plan import FIGURES, cell_of
from ..scores import Scores, read_rows
from ..style import style, write
from ..tables import DEMO
from . import ood, sparsity, training
from .panels import Grid

# From the scores alone.
DRAWN = {
    "achieved_l0": sparsity.achieved_l0,
    "metrics_achieved": sparsity.metrics_achieved,
    "metrics_nominal": sparsity.metrics_nominal,
    "tradeoff": sparsity.tradeoff,
    "auc_by_k": ood.auc_by_k,
    "ood_datasets": ood.ood_datasets,
}


def draw(inputs: dict, settings: dict, to: list[str]) -> None:
    """`inputs` as plan.figure_inputs has them, `settings` as grid.figure_settings."""
    name = settings["figure"]
    drawn = figure(inputs, settings)
    with style(name):  # which the files' fonts and ids come from
        write(drawn, to)
    log.info("%s: %s", to[0], FIGURES[name])


def figure(inputs: dict, settings: dict) -> Figure:
    grid = Grid(Scores(read_rows(inputs["scores"])), settings, settings["trainer"])
    note = DEMO if settings["demo"] else ""
    name = settings["figure"]
    with style(name):
        if name == "figure1":
            return ood.figure1(grid, note, read_json(inputs["differences"]))
        if name == "training":
            return training.training(grid, note, {cell_of(path): path for path in inputs["curves"]})
        return DRAWN[name](grid, note)
