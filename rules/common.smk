# The checked configuration, the cells that it spells out, and where things are.

import sys

from snakemake.exceptions import WorkflowError

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


def model_files(wildcards):
    """A local model's directory is an input, so that one that the workflow trains itself is made first."""
    path = cells_of.by_name(config["models"], wildcards.model)["path"]
    return [f"{path}/config.json"] if path else []
