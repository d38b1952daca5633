"""Rule world_text."""

from maskedsae.job import job
from maskedsae.world.text import write_corpus

with job(snakemake.log[0]):
    settings = snakemake.params.settings
    write_corpus(snakemake.output[0], settings["characters"], settings["seed"])
