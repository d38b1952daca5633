"""Training SAEs on a planted truth, by the same loop as on a language model."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from ..activations.planted.settings import PlantedFacts
from ..activations.planted.stream import PlantedStream
from ..activations.planted.truth import Draw, Truth, read_facts
from ..jobs.compute import Compute
from ..jobs.device import to_device
from .cells import Cell
from .quality import HeldOut
from .settings import TrainJobSettings
from .training import train_from


def train_planted_job(
    outputs: Iterable[str], settings: TrainJobSettings, model_file: str | Path, compute: Compute
) -> None:
    """Train the cells that `outputs` are in. `model_file` is model.json."""
    folders = {cell: cell.folder for cell in dict.fromkeys(Cell.parse(output) for output in outputs)}
    train_from(PlantedSource(read_facts(model_file), settings, compute.device), folders, settings, compute)


class PlantedSource:
    text = None

    def __init__(self, facts: PlantedFacts, settings: TrainJobSettings, device: str):
        self.facts, self.settings, self.device = facts, settings, device

    @cached_property
    def rows(self) -> PlantedStream:
        settings, training = self.settings, self.settings.training
        truth = Truth(self.facts, settings.stream_seed)
        return PlantedStream(truth, settings.stream, training.batch, training.shuffle_tokens, self.device)

    def heldout(self) -> HeldOut:
        truth = self.rows.model
        rows = truth.activations(truth.features(self.facts.planted.heldout_rows, Draw.HELDOUT))
        return HeldOut([to_device(rows, self.device)], 1, "held out, clean")
