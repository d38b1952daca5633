"""Rule report."""

from maskedsae.grid import gathered
from maskedsae.job import job, log
from maskedsae.report.page import write_page

with job(snakemake.log[0]):
    write_page(dict(snakemake.input.items()), gathered(snakemake.params.settings), snakemake.output[0])
    log.info("%s: the report", snakemake.output[0])
