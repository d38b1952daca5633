"""Rules train_*."""

from pathlib import Path

from maskedsae.files import read_json
from maskedsae.grid import folders_of, gathered
from maskedsae.job import job
from maskedsae.training import train_set

with job(snakemake.log[0]):
    train_set(
        folders_of(snakemake.output),
        gathered(snakemake.params),
        read_json(snakemake.input.model),
        Path(snakemake.input.tokens).parent,
        snakemake.config["compute"],
    )
