"""A run's records besides its scores: each SAE on clean text, and the jobs with their time and memory."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..inference.equal_l0 import TOLERANCE
from ..jobs.errors import InputError
from ..jobs.files import read_json
from ..saes.cells import Cell
from ..saes.settings import AIMS_AT_L0


@dataclass(frozen=True)
class Sae:
    """One SAE, measured on held-out clean text (its quality.json)."""

    cell: Cell
    quality: dict[str, Any]
    provenance: dict[str, Any]
    aims_at_l0: bool = True  # otherwise its nominal l0 is the name of a penalty

    @property
    def step(self) -> str:
        """How its trainer's steps were computed: stock or fast."""
        return str(self.provenance["settings"]["training"].get("step", "stock"))

    @property
    def off(self) -> float:
        return float(self.quality["l0"] / self.quality["nominal_l0"] - 1)

    @property
    def off_by_much(self) -> bool:
        return self.aims_at_l0 and abs(round(self.off, 9)) > TOLERANCE

    @property
    def dead(self) -> float:
        return float(self.quality["dead_latents"] / self.quality["latents"])

    @property
    def mostly_dead(self) -> bool:
        return self.dead > 0.5


def read_saes(quality_files: list[str]) -> list[Sae]:
    saes = []
    for path in map(Path, quality_files):
        quality, provenance = read_json(path), read_json(path.with_name("provenance.json"))
        aims = provenance["settings"]["trainer"]["kind"] in AIMS_AT_L0
        saes.append(Sae(Cell.parse(path), quality, provenance, aims))
    return saes


@dataclass(frozen=True)
class Step:
    """Time and memory of all jobs of one rule."""

    words: str
    jobs: int
    unrecorded: int  # jobs whose benchmark file is gone: the following fields do not include them
    wall: float  # seconds
    cpu: float | None  # None where a job was too short to be measured
    gpus: int  # per job
    memory: float | None  # MB, the largest

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.wall / 3600


def read_step(words: str, gpus: int, files: list[str], provenance: list[str]) -> Step:
    """From Snakemake's benchmark files, which record only a job's last attempt, and may be gone.

    Trainings are resumed, so their time is from `provenance`: one file per SAE, with its job's time over all attempts.
    """
    rows = [_benchmark(path) for path in files if Path(path).exists()]
    cpu = [row["cpu_time"] for row in rows]
    memory = [row["max_rss"] for row in rows if row["max_rss"] is not None]
    return Step(
        *(words, len(files), len(files) - len(rows)),
        wall=_trained_for(provenance) if provenance else sum(row["s"] or 0 for row in rows),
        cpu=_sum(cpu) if rows else None,
        gpus=gpus,
        memory=max(memory, default=None),
    )


def _trained_for(provenance: list[str]) -> float:
    """Seconds of all training jobs, each counted once: SAEs that were trained together have the same `wall_seconds`. An
    SAE that was trained before its job was regrouped has its own."""
    jobs: dict[tuple[str, ...], float] = {}
    for path in provenance:
        origin = read_json(path)
        together = tuple(sorted(origin["trained_with"]))
        jobs[together] = max(jobs.get(together, 0.0), origin["wall_seconds"])
    return sum(jobs.values())


def _sum(values: list[float | None]) -> float | None:
    """None if one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _benchmark(path: str) -> dict[str, float | None]:
    """Its last row; NA where Snakemake measured nothing."""
    try:
        with open(path, newline="") as file:
            row = list(csv.DictReader(file, delimiter="\t"))[-1]
        return {name: None if row[name] in ("NA", "-") else float(row[name]) for name in ("s", "cpu_time", "max_rss")}
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: not a benchmark file of Snakemake ({error!r}): remove it; the report does not need it"
        ) from error


def total(steps: list[Step]) -> Step:
    cpu = [step.cpu for step in steps]
    memory = [step.memory for step in steps if step.memory is not None]
    return Step(
        *("all", sum(step.jobs for step in steps), sum(step.unrecorded for step in steps)),
        wall=sum(step.wall for step in steps),
        cpu=_sum(cpu),
        gpus=0,
        memory=max(memory, default=None),
    )
