# The checked configuration, the cells that it spells out, and where things are.

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import RerunTrigger

sys.path.insert(0, f"{workflow.basedir}/scripts")

from maskedsae import configuration
from maskedsae import grid as cells_of
from maskedsae import resources as needs
from maskedsae.errors import InputError

try:
    configuration.check(config)
except InputError as error:
    raise WorkflowError(str(error)) from None

TABLE_SETS = cells_of.l0_sets(config, needed=True)
OTHER_SETS = cells_of.l0_sets(config, needed=False)
TRAINING = {f"train_{cells.name}": cells for cells in TABLE_SETS + OTHER_SETS}

# What needs the network can be told to run beside Snakemake, on a login node that has it.
FETCH_HERE = config["compute"]["fetch_here"]


wildcard_constraints:
    run=config["run"],
    model="|".join(model["name"] for model in config["models"]),
    lm="[^/]+",
    stream="|".join(stream["name"] for stream in config["streams"]),
    trainer="|".join(config["trainers"]),
    l0="[0-9]+",
    seed="[0-9]+",


def model_files(wildcards):
    """A local model's files are inputs, so that one that the workflow trains itself is made first."""
    path = cells_of.by_name(config["models"], wildcards.model)["path"]
    return cells_of.local_model_files(path) if path else []


def finished_saes():
    return [path for cells in TABLE_SETS + OTHER_SETS for path in cells.files() if Path(path).exists()]


class Plan:
    """Put into words only when Snakemake prints it: by then it knows what is to be done."""

    def __str__(self):
        jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_norun and job.rule.name != "plan"]
        trained = [TRAINING[job.rule.name] for job in jobs if job.rule.name in TRAINING]
        benched = [job.wildcards.model for job in jobs if job.rule.name == "saebench_model"]
        order = {rule.name: number for number, rule in enumerate(workflow.rules)}
        jobs.sort(key=lambda job: order[job.rule.name])
        return needs.plan([self.planned(job) for job in jobs], needs.disk_gigabytes(config, trained, benched))

    @staticmethod
    def planned(job):
        name, gpus, cells = job.rule.name, job.resources.get("gpu", 0), TRAINING.get(job.rule.name)
        expected = needs.gpu_hours(config, name, job.wildcards.get("model"), cells) if gpus else None
        kind = name.split("_")[0] if name.startswith(("train_", "figure_")) else name
        return needs.Planned(kind, gpus, expected, job.resources.get("runtime", 0) / 60)


def on_gpu(dag):
    return any(job.resources.get("gpu") for job in dag.needrun_jobs())


onstart:
    # Without a profile Snakemake goes by the time stamps of scripts: a fresh checkout would train everything again.
    if RerunTrigger.CODE in workflow.rerun_triggers and finished_saes():
        raise WorkflowError(
            "SAEs are finished here, and without a profile a touched script would train them again: add --profile profiles/local"
        )
    # Before the hours of tokenising that come first. On a cluster, the job's own machine is what counts, and it checks.
    if workflow.local_exec and not workflow.remote_exec and on_gpu(workflow.dag):
        from maskedsae.models import check_device

        try:
            check_device(config["compute"]["device"], config["training"]["autocast"])
        except InputError as error:
            raise WorkflowError(str(error)) from None
