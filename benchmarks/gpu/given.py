"""What all steps are given, and what they give back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskedsae.experiment import settings as settings_of
from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.grid import Cell, TrainingJob, training_jobs
from maskedsae.saes.settings import TrainJobSettings

SCORED = "pythia-shape"  # the model whose SAE is scored: its embeddings spell


class Wrong(Exception):
    """What a step checked is not so."""


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


@dataclass(frozen=True)
class Found:
    """What a step found: in words for the table, and its numbers for the JSON file."""

    words: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Kit:
    """What the steps share: the configuration, and the paths that it gives."""

    config: Configuration
    small: bool

    @property
    def device(self) -> str:
        return self.config.compute.device

    @property
    def results(self) -> Path:
        return Path("results", self.config.run)

    @property
    def corpus(self) -> Path:
        return self.results / "world" / "corpus.jsonl"

    @property
    def data(self) -> Path:
        return self.results / "saebench" / "data" / "manifest.json"

    @property
    def scored(self) -> Cell:
        return self.job(SCORED).cells[0]

    def facts(self, model: str) -> Path:
        return self.results / model / "model.json"

    def tokens(self, model: str) -> Path:
        return self.results / model / "tokens" / "manifest.json"

    def shared(self, model: str) -> Path:
        return self.results / model / "saebench" / "manifest.json"

    def job(self, model: str) -> TrainingJob:
        (job,) = (job for job in training_jobs(self.config, needed=False) if job.model == model)
        return job

    def training(self, model: str) -> TrainJobSettings:
        return settings_of.train_settings(self.config, self.job(model))
