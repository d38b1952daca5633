"""Rule ood_differences."""

from maskedsae.files import write_json
from maskedsae.grid import gathered
from maskedsae.job import job
from maskedsae.report.differences import differences

with job(snakemake.log[0]):
    write_json(snakemake.output[0], differences(list(snakemake.input), gathered(snakemake.params)))
