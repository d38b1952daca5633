"""The paper's published numbers, and whether a run may be compared with them.

A demo, another text, dictionary or learning rate is another experiment, whose numbers are never shown beside the
paper's. The settings decide that, not the run's name.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from ..jobs.errors import InputError
from ..saes.settings import Trainer
from .settings import Shown, ShownModel

FILES = ("experiment.yaml", "claims.yaml", "table1.csv", "table2.csv", "table3.csv")


@dataclass(frozen=True)
class PublishedTable:
    """`values` are as printed, by (the metric's label, p, l0): "25.01" and "1.000" keep their digits."""

    name: str
    model: str
    columns: str  # l0 or p
    values: dict[tuple[str, float, int], str]


@dataclass(frozen=True)
class Published:
    experiment: dict[str, Any]
    tables: list[PublishedTable]
    claims: dict[str, Any]

    def table(self, model: str, columns: str) -> PublishedTable | None:
        return next((table for table in self.tables if (table.model, table.columns) == (model, columns)), None)

    def values(self, model: str, metric: str, cells: list[tuple[float, int]]) -> list[float] | None:
        """Those of `cells` (p, l0), in points, all from one table: Tables 1 and 3 print the same SAEs differently."""
        for table in self.tables:
            places = [(metric, *cell) for cell in cells]
            if table.model == model and table.values.keys() >= set(places):
                return [float(table.values[place]) for place in places]
        return None

    def model_of(self, entry: ShownModel) -> str | None:
        """The name of this model in the paper: from the hub, or a local copy."""
        for name, model in self.experiment["models"].items():
            hub = model["hub"]
            same = entry.hub == hub if entry.hub else Path(entry.path or "").name == hub.split("/")[1]
            if same and entry.layer == model["layer"]:
                return str(name)
        return None

    def departures(self, entry: ShownModel, trainer: Trainer, shown: Shown) -> list[str]:
        """What makes this model's SAEs others than the paper's, each in a few words; empty if they may be compared."""
        if shown.demo:
            return ["language models that the workflow trained itself"]
        name = self.model_of(entry)
        if not name:
            return [f"model {entry.name} (layer {entry.layer}) is none of the paper's"]
        paper, reading = dict(self.experiment["settings"]), self.experiment["models"][name]["reading"]
        ours = {key: getattr(shown, key) for key in ("mask", "training", "tokens", "saebench", "ood")}
        ours |= {"trainer": trainer.kind, "dict_size": trainer.dict_size, "trainer_settings": trainer.settings}
        if trainer.kind != paper["trainer"]:
            del paper["trainer_settings"]  # another kind has others
        read = asdict(entry) | ({"bos": reading["bos"]} if entry.bos is None else {})
        found = [*_different(ours, paper), *_different(read, reading, "models.")]
        corpora = self.experiment["corpora"]
        if all(any(_different(shown.corpus, corpus)) for corpus in corpora):
            found += _different(shown.corpus, corpora[0], "corpus.")
        return found

    def departures_of_run(self, shown: Shown) -> list[str]:
        """Each departure once, with whose it is where not all SAEs have it."""
        saes = list(product(shown.models, shown.trainers))
        found: dict[str, list[str]] = {}
        for entry, trainer in saes:
            name = f"{entry.name}, {trainer.name}" if len(shown.trainers) > 1 else entry.name
            for words in self.departures(entry, trainer, shown):
                found.setdefault(words, []).append(name)
        return [words if len(who) == len(saes) else f"{words} ({'; '.join(who)})" for words, who in found.items()]

    def why_not_comparable(self, entry: ShownModel, trainer: Trainer, shown: Shown) -> str | None:
        """All departures in one line; None if there are none."""
        return ", ".join(self.departures(entry, trainer, shown)) or None


def metrics_of(claim: dict[str, Any]) -> tuple[str, ...]:
    """Those that a claim of claims.yaml is about: one, several or, where no cells can settle it, none."""
    metric = claim["metric"] or ()
    return (metric,) if isinstance(metric, str) else tuple(metric)


def read_published(folder: str | Path) -> Published:
    """The folder reference/."""
    folder = Path(folder)
    experiment, claims = (yaml.safe_load((folder / name).read_text()) for name in FILES[:2])
    tables = [_read_table(folder / entry["file"], entry, experiment["methods"]) for entry in experiment["tables"]]
    return Published(experiment, tables, claims)


def _different(ours: dict[str, Any], paper: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Each of the paper's settings that differs from ours."""
    for key, value in paper.items():
        name, own = f"{prefix}{key}", ours.get(key)
        if isinstance(value, dict) and isinstance(own, dict):
            yield from _different(own, value, f"{name}.")
        elif own != value:
            short = not isinstance(value, dict | list)
            yield f"{name} {_spelled(own)} and not {_spelled(value)}" if short else f"other {name}"


def _spelled(value: Any) -> str:
    """As in a configuration."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _read_table(path: Path, entry: dict[str, Any], methods: dict[str, float]) -> PublishedTable:
    values = {}
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            metric, method = line.pop("metric"), line.pop("method", None)
            for head, printed in line.items():
                p, l0 = (methods[method], int(head)) if entry["columns"] == "l0" else (float(head), entry["l0"])
                values[metric, float(p), l0] = printed
    if not all(_is_number(printed) for printed in values.values()):
        raise InputError(f"{path}: not a number among its values: restore it from git")
    return PublishedTable(path.stem, entry["model"], entry["columns"], values)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
