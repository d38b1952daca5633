"""Section `saes` of the configuration: SAEs that were trained elsewhere, and SAEs that are made without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ...jobs.errors import InputError
from ...jobs.typed import plain, read
from ..cells import Cell

WITH_THRESHOLDS = ("matryoshka_batch_topk", "batch_topk", "jumprelu")  # kinds of trainers


@dataclass(frozen=True)
class HubFolder:
    """A folder in dictionary_learning's format, in a model repository of the hub."""

    repository: str
    folder: str
    revision: str | None = None


@dataclass(frozen=True)
class Release:
    """An SAE of SAELens' list: a release, and an SAE in it."""

    release: str
    id: str


@dataclass(frozen=True)
class OfCell:
    """A finished cell of this run, with thresholds such that its l0 on held-out clean text is this."""

    stream: str
    trainer: str
    l0: int
    seed: int
    threshold_for_l0: float

    def cell(self, run: str, model: str) -> Cell:
        return Cell(run, model, self.stream, self.trainer, self.l0, self.seed)


@dataclass(frozen=True)
class Baseline:
    """No training: principal components, random directions, or the activations themselves."""

    kind: Literal["pca", "random", "raw"]
    latents: int | None = None
    k: int | None = None


@dataclass(frozen=True)
class Origin:
    """Where an SAE comes from: exactly one of these."""

    dictionary_learning: HubFolder | None = None
    saelens: Release | None = None
    folder: str | None = None
    cell: OfCell | None = None
    baseline: Baseline | None = None

    @property
    def on_the_hub(self) -> bool:
        return self.dictionary_learning is not None or self.saelens is not None

    @classmethod
    def from_plain(cls, value: Mapping[str, Any], where: str = "") -> Origin:
        known = {field.name: field.type for field in fields(cls)}
        given = [key for key, content in value.items() if content is not None]
        if len(given) != 1 or given[0] not in known:
            found = f"{' and '.join(given)} are" if given else "nothing is"
            raise InputError(f"{where}: {found} given: give exactly one of {', '.join(known)}")
        origin = read(cls, value, f"{where}.")
        return origin if origin.folder is None else replace(origin, folder=str(Path(origin.folder)))  # a/, ./a

    def plain(self) -> dict[str, Any]:
        """Only what is given, so that another kind of origin does not change the settings of an SAE."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: plain(value) for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class PublishedScores:
    """SAEBench's result files for an SAE, as others published them: a local file or folder; or, in a repository of
    data sets on the hub, {eval}/{folder}/{folder}_{sae}_eval_results.json, which is SAEBench's own layout."""

    path: str | None = None
    repository: str | None = None
    folder: str | None = None
    sae: str | None = None
    revision: str | None = None

    @classmethod
    def from_plain(cls, value: Mapping[str, Any], where: str = "") -> PublishedScores:
        given = read(cls, value, f"{where}.")
        on_the_hub = (given.repository, given.folder, given.sae)
        if (given.path is None) == (None in on_the_hub) or (given.path and any((*on_the_hub, given.revision))):
            raise InputError(f"{where}: give either path, or repository, folder and sae (and revision, if you like)")
        return given


@dataclass(frozen=True)
class ImportedSae:
    """An entry of section `saes`."""

    name: str
    model: str
    origin: Origin  # `from` in the configuration, a word that Python keeps for itself
    group: str | None = None
    published: PublishedScores | None = None

    @classmethod
    def from_plain(cls, value: Mapping[str, Any], where: str = "") -> ImportedSae:
        published = value["published"]
        return cls(
            value["name"],
            value["model"],
            Origin.from_plain(value["from"], f"{where}.from"),
            value["group"],
            None if published is None else PublishedScores.from_plain(published, f"{where}.published"),
        )

    def plain(self) -> dict[str, Any]:
        about = {"name": self.name, "model": self.model, "from": self.origin.plain()}
        return about | {"group": self.group, "published": plain(self.published)}


@dataclass(frozen=True)
class ImportSettings:
    """How an SAE is made into one of ours, and measured."""

    origin: Origin
    dtype: str
    lm_batch: int
    code: dict[str, str]


@dataclass(frozen=True)
class FetchSettings:
    """What is fetched from the hub."""

    origin: Origin
    code: dict[str, str]
