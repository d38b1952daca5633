"""docs/study/: results of our own runs, and a write-up in which each score leads to its rows."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..inference.contrasts import Contrast, read_contrasts
from ..inference.decisions import NOT_HERE, UNDECIDED
from ..jobs.errors import InputError
from ..jobs.files import read_json, write_bytes
from ..jobs.log import log
from ..scores.table import Row, read_rows, write_rows
from .tables import rounded
from .writers import signed

FIGURE = "decides.svg"
# What is judged, every l0, the same scores under another threshold, and how much of each comes from the activations.
KEPT = re.compile(
    r"quality\.(l0|dead_latents)|ood\.l0|l0\.(core|sparse_probing)|robustness\.(own\.l0_\w+|clean\.\w+|mean\.\w+)"
    r"|planted\.(at_\w+\.)?(l0|missed)|planted\.(l0_on_filler|absorbed|absorption_fraction|children_cosine|explained_variance)"
    r"|core\.explained_variance_legacy|sparse_probing\.sae_top_1_test_accuracy|ood\.auc"
    r"|parents\.(l0_\d+\.)?mean\.(missed|precision|f1|full_absorption|absorption_fraction)"
)


def write_study(template: str | Path, runs: list[str], to: str | Path) -> None:
    """`runs` are finished folders results/{run}; the numbers and the figure of each go to a folder of its name in `to`.
    Nothing is written unless the write-up still holds."""
    with TemporaryDirectory() as made:
        for run in map(Path, runs):
            copied = _copy_evaluations if any(run.glob("seed-*")) else _copy
            copied(run, Path(made) / run.name)
        write_bytes(Path(made) / "README.md", render(template, made).encode())
        shutil.copytree(made, to, dirs_exist_ok=True)
    log.info("%s: the study", to)


def _copy(run: Path, to: Path) -> None:
    files = [run / "contrasts.csv", run / "verdicts.json", run / "figures" / FIGURE]
    for file in (run / "scores.csv", *files):
        _check(file)
    _write(read_rows(run / "scores.csv"), to)
    for file in files:
        shutil.copyfile(file, to / file.name)


def _copy_evaluations(run: Path, to: Path) -> None:
    """The same SAEs scored with several evaluation seeds, a folder each: one table, with the evaluation's as `seed`."""
    rows = []
    for folder in sorted(run.glob("seed-*")):
        seed = int(folder.name.removeprefix("seed-"))
        _check(folder / "scores.csv")
        rows += [
            replace(row, seed=seed, source=f"{folder.name}/scores.csv") for row in read_rows(folder / "scores.csv")
        ]
    _write(rows, to)


def _check(file: Path) -> None:
    if not file.exists():
        raise InputError(f"{file}: missing: finish the run first (make study)")


def _write(rows: list[Row], to: Path) -> None:
    """Sorted, so that the seeds of one SAE follow each other."""
    to.mkdir(parents=True, exist_ok=True)
    kept = [row for row in rows if KEPT.fullmatch(row.metric)]
    kept.sort(key=lambda row: (row.metric, row.model, row.trainer or "", row.stream, row.l0 or 0, row.seed or 0))
    write_rows(to / "scores.csv", kept)


def render(template: str | Path, folder: str | Path) -> str:
    """The write-up. In the Jinja template `run("planted")` gives that run's numbers, and `only_if(condition, words)`
    the words; it stops if the condition no longer holds."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    runs: dict[str, Run] = {}

    def run(name: str) -> Run:
        return runs.setdefault(name, Run(Path(folder) / name))

    def only_if(holds: bool, words: str) -> str:
        if not holds:
            raise InputError(f"{template}: the numbers no longer say so: {words!r}: write what they say")
        return words

    return environment.from_string(Path(template).read_text()).render(run=run, only_if=only_if)


@dataclass(frozen=True)
class Run:
    """One run's numbers, in the words of a write-up. An SAE is (stream, trainer, nominal l0)."""

    folder: Path

    @cached_property
    def contrasts(self) -> list[Contrast]:
        rows = read_contrasts(self.folder / "contrasts.csv")
        if len({row.model for row in rows}) > 1:
            raise InputError(f"{self.folder}/contrasts.csv: of several models: a run of the study has one")
        return rows

    @cached_property
    def scores(self) -> list[Row]:
        return read_rows(self.folder / "scores.csv")

    @cached_property
    def verdicts(self) -> dict[str, Any]:
        return read_json(self.folder / "verdicts.json")

    @property
    def n(self) -> int:
        """Data seeds."""
        return int(self.verdicts["data_seeds"])

    def contrast(self, endpoint: str, contrast: str, trainer: str, l0: int, stream: str) -> Contrast:
        """Of `stream` and the baseline at one nominal l0."""
        return self._contrast(endpoint, contrast, trainer, l0, stream)[1]

    def points(self, endpoint: str, contrast: str, trainer: str, l0: int, stream: str) -> str:
        """A contrast with its interval, linked to its row; a dash where it could not be formed."""
        line, row = self._contrast(endpoint, contrast, trainer, l0, stream)
        words = _interval(row) if row.n else "—"
        return f"[{words}]({self.folder.name}/contrasts.csv#L{line})"

    def verdict(self, endpoint: str, trainer: str, l0: int, stream: str) -> str:
        question = self.contrast(endpoint, "nominal", trainer, l0, stream).question
        (found,) = [
            decision
            for decision in self.verdicts["decisions"]
            if (decision["trainer"], decision["endpoint"], decision["question"]) == (trainer, endpoint, question)
        ]
        return str(found["verdict"])

    def decided(self, trainer: str, l0: int, stream: str) -> list[str]:
        """The endpoints with a verdict."""
        endpoints = dict.fromkeys(row.endpoint for row in self.contrasts)
        return [name for name in endpoints if self.verdict(name, trainer, l0, stream) not in (UNDECIDED, NOT_HERE)]

    def mean(self, metric: str, stream: str, trainer: str, l0: int, percent: bool = False) -> str:
        """Over seeds, linked to its rows."""
        value = self.average(metric, stream, trainer, l0)
        words = rounded(100 * value, 1) + "%" if percent else rounded(value, 1)
        return f"[{words}]({self._link(metric, stream, trainer, l0)})"

    def average(self, metric: str, stream: str, trainer: str, l0: int) -> float:
        return fmean(self.values(metric, stream, trainer, l0).values())

    def spread(self, metric: str, sae: tuple[str, str, int], less: tuple[str, str, int]) -> str:
        """The standard deviation over seeds of two SAEs' difference in points, linked to the first one's rows."""
        return f"[sd {rounded(self.spread_of(metric, sae, less), 1)}]({self._link(metric, *sae)})"

    def spread_of(self, metric: str, sae: tuple[str, str, int], less: tuple[str, str, int]) -> float:
        one, other = self.values(metric, *sae), self.values(metric, *less)
        return stdev(100 * (one[seed] - other[seed]) for seed in one)

    def values(self, metric: str, stream: str, trainer: str, l0: int) -> dict[int | None, float]:
        return {row.seed: row.value for _, row in self._rows(metric, stream, trainer, l0)}

    def _link(self, metric: str, stream: str, trainer: str, l0: int) -> str:
        lines = [line for line, _ in self._rows(metric, stream, trainer, l0)]
        return f"{self.folder.name}/scores.csv#L{lines[0]}-L{lines[-1]}"

    def _rows(self, metric: str, stream: str, trainer: str, l0: int) -> list[tuple[int, Row]]:
        """With their lines in scores.csv, which starts with a heading."""
        asked = (metric, stream, trainer, l0)
        found = [
            (line, row)
            for line, row in enumerate(self.scores, start=2)
            if (row.metric, row.stream, row.trainer, row.l0) == asked
        ]
        if not found:
            raise InputError(f"{self.folder}/scores.csv: no {metric} of {stream}@{l0} ({trainer})")
        return found

    def _contrast(self, endpoint: str, contrast: str, trainer: str, l0: int, stream: str) -> tuple[int, Contrast]:
        """With its line in contrasts.csv."""
        wanted = (endpoint, contrast, trainer)
        for line, row in enumerate(self.contrasts, start=2):
            asked = row.question.startswith(f"{stream}@{l0} - ") and row.question.endswith(f"@{l0}")
            if asked and (row.endpoint, row.contrast, row.trainer) == wanted:
                return line, row
        raise InputError(f"{self.folder}/contrasts.csv: no {contrast} of {endpoint}, {stream}@{l0} ({trainer})")


def _interval(row: Contrast) -> str:
    mean, low, high = (signed(rounded(value, 1)) for value in (row.mean, row.low, row.high))
    return f"{mean} ({low} to {high})"
