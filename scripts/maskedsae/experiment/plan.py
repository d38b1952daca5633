"""The plan: what a dry run's jobs will cost, as a table for a terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """A job that will run: its kind, its GPUs, the hours that it is expected to take (None: unknown, or without a GPU)
    and the hours that it asks for; of a training, also the SAEs and the expected hours of the language model."""

    kind: str
    gpus: int
    expected: float | None
    asked: float
    saes: int = 0
    forward: float | None = None


def plan(jobs: Sequence[Planned], gigabytes: float | None, warnings: Sequence[str] = ()) -> str:
    if not jobs:
        return "nothing is to be done for the targets beside plan (snakemake --profile slurm -n all plan)"
    rows = ["the plan", _row("jobs", "GPU hours", "asked for", "")]
    for kind in dict.fromkeys(job.kind for job in jobs):
        of_kind = [job for job in jobs if job.kind == kind]
        rows += [_summed(kind, of_kind), *_parts(of_kind)]
    disk = "unknown (a model's gflop is null)" if gigabytes is None else f"about {gigabytes:.1f} GB"
    rows.append(_summed(f"in all; on disk {disk}", jobs))
    rows.append("GPU hours are estimates, by config.yaml's gflop, tflops and step_ms (docs/slurm.md).")
    return "\n".join([*rows, *warnings])


def _summed(label: str, jobs: Sequence[Planned]) -> str:
    on_gpus = [job for job in jobs if job.gpus]
    if not on_gpus:
        return _row(len(jobs), "-", "-", label)
    known = [job.gpus * job.expected for job in on_gpus if job.expected is not None]
    expected = f"{sum(known):.1f}" if len(known) == len(on_gpus) else "unknown"
    return _row(len(jobs), expected, f"{sum(job.gpus * job.asked for job in on_gpus):.1f}", label)


def _parts(trainings: Sequence[Planned]) -> Iterator[str]:
    """What the SAEs of a job share, and what each has for itself."""
    known = [
        (job.gpus * job.forward, job.gpus * (job.expected - job.forward))
        for job in trainings
        if job.gpus and job.expected is not None and job.forward is not None
    ]
    if known and len(known) == len(trainings):
        forward, steps = map(sum, zip(*known, strict=True))
        yield _row("", f"{forward:.1f}", "", "  the language model's passes, which a job's SAEs share")
        yield _row("", f"{steps:.1f}", "", f"  the steps of {sum(job.saes for job in trainings)} SAEs")


def _row(*columns: object) -> str:
    return "{:>8} {:>12} {:>12}  {}".format(*columns)
