# The checked configuration, the cells that it spells out, and where things are.

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import RerunTrigger

sys.path.insert(0, f"{workflow.basedir}/scripts")

from maskedsae import configuration
from maskedsae import grid as cells_of
from maskedsae.errors import InputError

try:
    configuration.check(config)
except InputError as error:
    raise WorkflowError(str(error)) from None

TABLE_SETS = cells_of.l0_sets(config, needed=True)
OTHER_SETS = cells_of.l0_sets(config, needed=False)


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


def trains(dag):
    return any(job.rule.name.startswith("train_") for job in dag.needrun_jobs())


onstart:
    # Without a profile Snakemake goes by the time stamps of scripts: a fresh checkout would train everything again.
    if RerunTrigger.CODE in workflow.rerun_triggers and finished_saes():
        raise WorkflowError(
            "SAEs are finished here, and without a profile a touched script would train them again: add --profile profiles/local"
        )
    # Before the hours of tokenising that come first. On a cluster, the job's own machine is what counts, and it checks.
    if workflow.local_exec and not workflow.remote_exec and trains(workflow.dag):
        from maskedsae.models import check_device

        try:
            check_device(config["compute"]["device"], config["training"]["autocast"])
        except InputError as error:
            raise WorkflowError(str(error)) from None
