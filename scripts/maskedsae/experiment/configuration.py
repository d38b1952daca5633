"""The configuration as typed values: config.yaml with its overlays, after the schema and checks.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..activations.planted.settings import Planted
from ..activations.settings import Stream
from ..inference.settings import Analysis, ReportChoices
from ..jobs.compute import Compute
from ..jobs.typed import read
from ..report.settings import Publish
from ..saes.imported.settings import ImportedSae
from ..saes.settings import Trainer, Training
from ..scores.audit.settings import Audit
from ..scores.ood.settings import Ood
from ..scores.robustness.settings import Robustness
from ..scores.saebench.settings import Saebench
from ..text.settings import Corpus
from ..world.settings import World


@dataclass(frozen=True)
class Model:
    """A language model of the grid, or a planted truth in its place."""

    name: str
    hub: str | None
    path: str | None
    revision: str | None
    layer: int
    bos: bool | None
    dtype: str
    lm_batch: int
    tf32: bool
    gflop: float | None
    planted: Planted | None


@dataclass(frozen=True)
class Table:
    name: str
    model: str
    streams: tuple[str, ...]
    l0: tuple[int, ...] | None


@dataclass(frozen=True)
class Contexts:
    """Section `tokens`: how text becomes contexts."""

    context_length: int
    separator: str
    heldout_contexts: int
    repeat: bool


@dataclass(frozen=True)
class Configuration:
    run: str
    models: tuple[Model, ...]
    mask: str
    streams: tuple[Stream, ...]
    trainers: tuple[str, ...]
    l0: tuple[int, ...]
    l0_sets: tuple[tuple[int, ...], ...]
    trainer_sets: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    seeds_per_stream: int
    tables: tuple[Table, ...]
    corpus: Corpus
    tokens: Contexts
    training: Training
    trainer_settings: dict[str, Trainer]
    saes: tuple[ImportedSae, ...]
    ood: Ood
    robustness: Robustness
    saebench: Saebench
    audit: Audit
    compute: Compute
    world: World | None
    report: ReportChoices
    analysis: Analysis
    publish: Publish | None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Configuration:
        """From plain values that `checks.check` has checked and filled in."""
        settings, default = config["trainer_settings"], config["training"]["dict_size"]
        trainers = {name: trainer_entry(name, settings, default) for name in settings}
        analysis = dict(config["analysis"])
        analysis["endpoints"] = {name: given for name, given in analysis["endpoints"].items() if given is not None}
        return read(cls, {**config, "trainer_settings": trainers, "analysis": analysis})

    @property
    def language_models(self) -> tuple[Model, ...]:
        return tuple(model for model in self.models if model.planted is None)

    def model(self, name: str) -> Model:
        return next(model for model in self.models if model.name == name)

    def stream(self, name: str) -> Stream:
        return next(stream for stream in self.streams if stream.name == name)

    def imported(self, name: str) -> ImportedSae:
        return next(entry for entry in self.saes if entry.name == name)

    def stream_seed(self, seed: int) -> int:
        """The seed of the stream that an SAE with this seed reads: the first of its group of `seeds_per_stream`."""
        return seed - seed % self.seeds_per_stream


def trainer_entry(name: str, entries: Mapping[str, Mapping[str, Any]], dict_size: int) -> Trainer:
    """An entry of trainer_settings; one with another `kind` has that kind's settings, except those that it gives."""
    own = dict(entries[name])
    kind = own.pop("kind", name)
    settings = {**(entries[kind] if kind != name else {}), **own}
    settings.pop("kind", None)
    return Trainer(name, kind, settings.pop("dict_size", None) or dict_size, settings)
