"""What Slurm's partitions allow, beside what the configuration lets jobs ask for."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import floor, inf
from pathlib import Path

import yaml

from ..jobs.compute import Compute


@dataclass(frozen=True)
class Partition:
    name: str
    is_default: bool
    hours: float
    gigabytes: float  # of its largest node


def beyond_the_cluster(compute: Compute, chosen: Iterable[str | None], partitions_file: str | Path | None) -> list[str]:
    """A line for each limit that jobs may ask to exceed; nothing where Slurm does not answer.

    `chosen` are the partitions of the jobs that will run: names as `sbatch --partition` takes them, or None for a job
    that goes where it fits by the plugin's file of partitions, or else to Slurm's default partition.
    """
    partitions = partitions_of_slurm()
    lines: list[str] = []
    for names in sorted({name or "" for name in chosen}):
        if names or partitions_file:
            wanted = names.split(",") if names else _named_in(Path(partitions_file or ""))
            possible = [partition for partition in partitions if partition.name in wanted]
        else:
            possible = [partition for partition in partitions if partition.is_default]
        lines += _lines(compute, possible)
    return list(dict.fromkeys(lines))


def _lines(compute: Compute, possible: list[Partition]) -> Iterator[str]:
    """Where there are several possible partitions, a job goes to one that allows what it asks for."""
    if not possible:
        return
    hours = max(partition.hours for partition in possible)
    gigabytes = max(partition.gigabytes for partition in possible)
    names = ", ".join(partition.name for partition in possible)
    end = "a job that asks for more is refused or waits for ever: set it to"
    if compute.job_hours > hours:
        yield (
            f"compute.job_hours: {compute.job_hours:g} is more than Slurm's partition {names} allows, "
            f"{hours:g} hours; {end} {hours:g}"
        )
    if compute.job_gigabytes > gigabytes:
        yield (
            f"compute.job_gigabytes: {compute.job_gigabytes:g} is more than a node of Slurm's partition {names} has, "
            f"{gigabytes:g} GB; {end} {floor(gigabytes)}"
        )


def _named_in(partitions_file: Path) -> list[str]:
    try:
        return [str(name) for name in yaml.safe_load(partitions_file.read_text())["partitions"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError):  # the plugin says what is wrong with its file
        return []


def partitions_of_slurm() -> list[Partition]:
    # exact: a line for each size of node, instead of the smallest size and a plus
    command = ["sinfo", "--all", "--exact", "--noheader", "--format=%P|%l|%m"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return read_partitions(answer)


def read_partitions(answer: str) -> list[Partition]:
    """From lines such as `main*|1-00:00:00|500000`: name, * if it is the default, time limit, MB of memory."""
    found: dict[str, Partition] = {}
    for line in answer.splitlines():
        if fields := re.fullmatch(r"(.+?)(\*?)\|([^|]+)\|(\d+)(\+?)", line.strip()):
            name, default, limit, megabytes, and_more = fields.groups()
            gigabytes = inf if and_more else int(megabytes) / 1000
            if name in found:
                gigabytes = max(gigabytes, found[name].gigabytes)
            found[name] = Partition(name, bool(default), hours_of(limit), gigabytes)
    return list(found.values())


def hours_of(limit: str) -> float:
    """Slurm's [days-][[hours:]minutes:]seconds; what is no time, such as `infinite`, is no limit."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        return inf
    days, _, time = limit.rpartition("-")
    seconds = 0
    for part in time.split(":"):
        seconds = 60 * seconds + int(part)
    return 24 * int(days or 0) + seconds / 3600
