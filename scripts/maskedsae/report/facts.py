"""What the report tells beside the scores: each SAE on clean text, what was run, on what, for how long."""

import csv
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files import read_json
from .equal_l0 import TOLERANCE
from .plan import Cell, cell_of


@dataclass(frozen=True)
class Sae:
    """One SAE on held-out, unmasked text, as its quality.json has it."""

    cell: Cell
    folder: Path  # of the cell
    quality: dict
    provenance: dict

    @property
    def off(self) -> float:
        return self.quality["l0"] / self.quality["nominal_l0"] - 1

    @property
    def off_by_much(self) -> bool:
        return abs(round(self.off, 9)) > TOLERANCE

    @property
    def dead(self) -> float:
        return self.quality["dead_latents"] / self.quality["latents"]

    @property
    def mostly_dead(self) -> bool:
        return self.dead > 0.5


def read_saes(quality_files: list[str]) -> list[Sae]:
    saes = []
    for path in map(Path, quality_files):
        quality, provenance = read_json(path), read_json(path.with_name("provenance.json"))
        saes.append(Sae(cell_of(path), path.parents[1], quality, provenance))
    return saes


@dataclass(frozen=True)
class Step:
    """What all jobs of one rule took."""

    words: str
    jobs: int
    unrecorded: int  # jobs whose benchmark file is gone: nothing of them is in what follows
    wall: float  # seconds
    cpu: float | None  # None where a job was too short to be measured
    gpus: int  # that a job held
    memory: float | None  # MB, the largest

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.wall / 3600


def read_step(words: str, gpus: int, files: list[str], provenance: list[str]) -> Step:
    """From Snakemake's benchmark files, which tell of a job's last attempt only, and may be gone.

    Trainings are resumed: `provenance` has one of each, whose own clock counts all attempts.
    """
    rows = [_benchmark(path) for path in files if Path(path).exists()]
    cpu = [row["cpu_time"] for row in rows]
    memory = [row["max_rss"] for row in rows if row["max_rss"] is not None]
    clocks = [read_json(path)["wall_seconds"] for path in provenance]
    return Step(
        *(words, len(files), len(files) - len(rows)),
        wall=sum(clocks) if provenance else sum(row["s"] for row in rows),
        cpu=None if None in cpu or not rows else sum(cpu),
        gpus=gpus,
        memory=max(memory, default=None),
    )


def _benchmark(path: str) -> dict[str, float | None]:
    """Its last row; NA where Snakemake measured nothing."""
    try:
        with open(path, newline="") as file:
            row = list(csv.DictReader(file, delimiter="\t"))[-1]
        return {name: None if row[name] in ("NA", "-") else float(row[name]) for name in ("s", "cpu_time", "max_rss")}
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: not a benchmark file of Snakemake ({error!r}): remove it, and the report does without"
        ) from error


def total(steps: list[Step]) -> Step:
    cpu = [step.cpu for step in steps]
    memory = [step.memory for step in steps if step.memory is not None]
    return Step(
        *("all", sum(step.jobs for step in steps), sum(step.unrecorded for step in steps)),
        wall=sum(step.wall for step in steps),
        cpu=None if None in cpu else sum(cpu),
        gpus=0,
        memory=max(memory, default=None),
    )
