# The checked configuration, the cells and training jobs of its grid, and functions that all rules use.

import gc
import io
import os
import sys
from contextlib import redirect_stderr
from functools import cache

from snakemake.cli import parse_args
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.enums import RerunTrigger
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

# Snakemake keeps all jobs until it ends, and Python looks through them for garbage again and again: 13 of 75 CPU
# seconds for the plan of 10,000 cells (measured once). So it looks less often.
gc.set_threshold(100_000, 50, 100)

# Rules and jobs use this checkout's library, whatever else is installed.
LIBRARY = f"{workflow.basedir}/scripts"
sys.path.insert(0, LIBRARY)
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [LIBRARY, os.environ.get("PYTHONPATH")])))

from maskedsae.experiment import checks, cluster, grid, plan
from maskedsae.experiment import resources as needs
from maskedsae.experiment import settings as settings_of
from maskedsae.experiment.grid import Cell, Imported
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.params import spelled_out

try:
    experiment = checks.check(config)
    checks.check_files(experiment)
except InputError as error:
    raise WorkflowError(str(error)) from None

TABLE_JOBS = grid.training_jobs(experiment, needed=True)
OTHER_JOBS = grid.training_jobs(experiment, needed=False)
TABLE_CELLS, OTHER_CELLS = grid.all_cells(TABLE_JOBS), grid.all_cells(OTHER_JOBS)
IMPORTED = grid.imported(experiment)
PLANTED_JOBS = grid.on_planted(experiment, TABLE_JOBS + OTHER_JOBS)
TRAINING = {f"train_{job.name}": job for job in TABLE_JOBS + OTHER_JOBS}

# Rules that need the network can run beside Snakemake, on a login node that has it.
FETCH_HERE = experiment.compute.fetch_here


wildcard_constraints:
    run=experiment.run,
    model="|".join(model.name for model in experiment.models),
    lm="[^/]+",
    stream="|".join(stream.name for stream in experiment.streams),
    trainer="|".join(experiment.trainers),
    l0="[0-9]+",
    seed="[0-9]+",
    sae="|".join(sae.sae for sae in IMPORTED) or "(?!)",  # which nothing matches


def params(settings, wildcard="model"):
    """A rule's settings, one per line; from a function, since Snakemake would fill in braces of plain text. All jobs
    with one value of this wildcard share them, so that they are spelled out once and not for each of 10,000 cells."""
    lines = cache(lambda value: spelled_out(settings(value)))
    return lambda wildcards: lines(wildcards.get(wildcard))


def model_files(wildcards):
    """A local model's files are inputs, so that a model that the workflow trains is made first."""
    path = experiment.model(wildcards.model).path
    return grid.local_model_files(path) if path else []


def finished_saes():
    return [path for job in TABLE_JOBS + OTHER_JOBS for path in job.files() if os.path.exists(path)]


class Plan:
    """Made into text only when Snakemake prints it: by then the jobs that will run are known."""

    def __str__(self):
        gc.freeze()  # at the end Python would look through all of them once more: 9 s (measured once)
        jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_norun and job.rule.name != "plan"]
        trained = [TRAINING[job.rule.name] for job in jobs if job.rule.name in TRAINING]
        cached = [job.wildcards.model for job in jobs if job.rule.name == "saebench_model"]
        order = {rule.name: number for number, rule in enumerate(workflow.rules)}
        jobs.sort(key=lambda job: order[job.rule.name])
        gigabytes = needs.disk_gigabytes(experiment, trained, cached)
        return plan.plan([self.planned(job) for job in jobs], gigabytes, beyond_the_cluster(jobs))

    @staticmethod
    def planned(job):
        name, gpus, training = job.rule.name, job.resources.get("gpu", 0), TRAINING.get(job.rule.name)
        expected = needs.gpu_hours(experiment, name, job.wildcards.get("model"), training) if gpus else None
        kind = name.split("_")[0] if name.startswith(("train_", "figure_", "truth_", "planted_")) else name
        forward = needs.forward_hours(experiment, training) if training else None
        saes = len(training.cells) if training else 0
        return plan.Planned(kind, gpus, expected, job.resources.get("runtime", 0) / 60, saes, forward)


def on_gpu(dag):
    return any(job.resources.get("gpu") for job in dag.needrun_jobs())


def beyond_the_cluster(jobs):
    """The executor and its settings are read from the command line and profile, since a dry run keeps neither. (With
    --directory, Snakemake read the profile in another folder, so nothing is said.)"""
    if workflow.overwrite_workdir:
        return []
    with redirect_stderr(io.StringIO()):  # it says again which profile it uses
        _, arguments = parse_args(sys.argv[1:])
    if arguments.executor != "slurm":
        return []
    settings = ExecutorPluginRegistry().get_plugin("slurm").get_settings(arguments)
    partitions_file = settings.partition_config or os.environ.get("SNAKEMAKE_SLURM_PARTITIONS")
    chosen = {job.resources.get("slurm_partition") for job in jobs if job.resources.get("runtime")}
    return cluster.beyond_the_cluster(experiment.compute, chosen, partitions_file)


onstart:
    # Without a profile, Snakemake goes by the scripts' time stamps: a fresh checkout would train everything again.
    if RerunTrigger.CODE in workflow.rerun_triggers and finished_saes():
        raise WorkflowError(
            "SAEs are finished here, and without a profile a touched script would train them again: add --profile profiles/local"
        )
    # Before the hours of tokenising that come first. On a cluster, the job checks on its own machine.
    if workflow.local_exec and not workflow.remote_exec and on_gpu(workflow.dag):
        from maskedsae.jobs.device import check_device

        try:
            check_device(experiment.compute.device, experiment.training.autocast)
        except InputError as error:
            raise WorkflowError(str(error)) from None
    for line in beyond_the_cluster(workflow.dag.needrun_jobs()):
        logger.warning(line)
