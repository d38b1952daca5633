"""Rule model."""

from maskedsae.files import write_json
from maskedsae.job import job
from maskedsae.models import describe

with job(snakemake.log[0]):
    write_json(snakemake.output[0], describe(snakemake.params.settings))
