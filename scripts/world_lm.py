"""Rule world_lm."""

from pathlib import Path

from maskedsae.job import job
from maskedsae.models import set_threads
from maskedsae.world.language_model import train_language_model

with job(snakemake.log[0]):
    set_threads(snakemake.config["compute"]["threads"])
    settings = snakemake.params.settings
    train_language_model(
        snakemake.input[0], Path(snakemake.output[0]).parent, settings["family"], settings["training"], settings["seed"]
    )
