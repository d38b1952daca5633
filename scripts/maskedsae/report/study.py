"""docs/study/: what runs of our own showed, with a write-up whose every number is a row of their tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..inference.contrasts import Contrast, read_contrasts
from ..jobs.errors import InputError
from ..jobs.files import read_json, write_bytes
from ..jobs.log import log
from ..scores.metrics import ACHIEVED_L0, SCORED_L0
from ..scores.table import read_rows, write_rows
from .tables import rounded
from .writers import signed

FIGURES = ("decides", "taken_apart")


def write_study(template: str | Path, runs: list[str], to: str | Path) -> None:
    """`runs`: folders results/{run}, finished. Of each, its numbers and figures go to a folder of its name in `to`."""
    for run in map(Path, runs):
        _copy(run, Path(to) / run.name)
    write_up = render(Path(template).read_text(), to)
    write_bytes(Path(to) / "README.md", write_up.encode())
    log.info("%s: the study", to)


def _copy(run: Path, to: Path) -> None:
    """scores.csv without the scores that are not judged."""
    names = ["contrasts.csv", "verdicts.json", *(f"figures/{name}.svg" for name in FIGURES)]
    for name in ("scores.csv", *names):
        if not (run / name).exists():
            raise InputError(f"{run / name}: missing: finish the run first (make study)")
    to.mkdir(parents=True, exist_ok=True)
    kept = {ACHIEVED_L0, *read_json(run / "verdicts.json")["metrics"].values(), *SCORED_L0.values()}
    write_rows(to / "scores.csv", [row for row in read_rows(run / "scores.csv") if row.metric in kept])
    for name in names:
        shutil.copyfile(run / name, to / Path(name).name)


def render(template: str, folder: str | Path) -> str:
    """The write-up: a Jinja template in which `run("planted")` gives that run's numbers, each with its row."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(template).render(run=lambda name: Run(Path(folder) / name))


@dataclass(frozen=True)
class Run:
    """One run's numbers, in the words of a write-up."""

    folder: Path

    @cached_property
    def contrasts(self) -> list[Contrast]:
        rows = read_contrasts(self.folder / "contrasts.csv")
        if len({row.model for row in rows}) > 1:
            raise InputError(f"{self.folder}/contrasts.csv: of several models: a run of the study has one")
        return rows

    @cached_property
    def verdicts(self) -> dict[str, Any]:
        return read_json(self.folder / "verdicts.json")

    @property
    def n(self) -> int:
        """Data seeds."""
        return int(self.verdicts["data_seeds"])

    def points(self, endpoint: str, contrast: str, trainer: str, l0: int, stream: str, decimals: int = 1) -> str:
        """A contrast of `stream` less the baseline at one nominal l0, with its interval, linked to its row."""
        line, row = self._row(endpoint, contrast, trainer, l0, stream)
        mean, low, high = (signed(rounded(value, decimals)) for value in (row.mean, row.low, row.high))
        return f"[{mean} ({low} to {high})]({self.folder.name}/contrasts.csv#L{line})"

    def verdict(self, endpoint: str, trainer: str, l0: int, stream: str, by: str = "matched") -> str:
        """What the evidence `by` leaves to masking."""
        _, row = self._row(endpoint, "nominal", trainer, l0, stream)
        key = (row.model, row.trainer, row.endpoint, row.question)
        found = [
            d for d in self.verdicts["decisions"] if (d["model"], d["trainer"], d["endpoint"], d["question"]) == key
        ]
        return str(found[0]["by"][by])

    def l0(self, stream: str, trainer: str, l0: int) -> str:
        """On clean rows, the mean over seeds."""
        return f"{fmean(self._values(ACHIEVED_L0, stream, trainer, l0)):.1f}"

    def score(self, endpoint: str, stream: str, trainer: str, l0: int) -> str:
        """As scores.csv has it, in percent: the mean over seeds."""
        return f"{100 * fmean(self._values(self.verdicts['metrics'][endpoint], stream, trainer, l0)):.1f}%"

    def assays(self) -> str:
        """How many of the known differences come out."""
        passed = [assay["passed"] for assay in self.verdicts["assays"]]
        return f"{sum(passed)} of {len(passed)}"

    def _row(self, endpoint: str, contrast: str, trainer: str, l0: int, stream: str) -> tuple[int, Contrast]:
        """The line of contrasts.csv, which starts with a heading, and the row."""
        wanted = (endpoint, contrast, trainer)
        for line, row in enumerate(self.contrasts, start=2):
            question = row.question.startswith(f"{stream}@{l0} - ") and row.question.endswith(f"@{l0}")
            if question and (row.endpoint, row.contrast, row.trainer) == wanted:
                if not row.n:
                    raise InputError(f"{self.folder}/contrasts.csv:{line}: no number: {row.missing}")
                return line, row
        raise InputError(f"{self.folder}/contrasts.csv: no {contrast} of {endpoint}, {stream}@{l0} ({trainer})")

    def _values(self, metric: str, stream: str, trainer: str, l0: int) -> Iterator[float]:
        for row in read_rows(self.folder / "scores.csv"):
            if (row.metric, row.stream, row.trainer, row.l0) == (metric, stream, trainer, l0):
                yield row.value
