"""What the benchmarks take from a run of the demo: its configuration, and its results as jobs find them.

The results are those in the current folder, as for the workflow.
"""

from pathlib import Path

import yaml
from snakemake.utils import update_config

from maskedsae.experiment.checks import check
from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.grid import TrainingJob, training_jobs

ROOT = Path(__file__).parents[1]
MODEL, STREAM = "pythia-demo", "clean"


def overlay(file: str) -> dict:
    return yaml.safe_load((ROOT / file).read_text())


def configuration(*overlays: dict) -> Configuration:
    """The demo's, under these overlays."""
    config = overlay("config.yaml")
    for each in (overlay("profiles/demo/demo.yaml"), *overlays):
        update_config(config, each)
    return check(config)


def training_job(config: Configuration) -> TrainingJob:
    """The one whose SAEs learn from MODEL's unmasked text."""
    jobs = training_jobs(config, needed=True)
    return next(job for job in jobs if (job.model, job.stream) == (MODEL, STREAM))


def link_results(folder: Path, *paths: Path | str) -> None:
    """Let a job whose current folder is `folder` find these; what it makes itself stays in `folder`."""
    for path in paths:
        link = folder / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(path).resolve(strict=True))
