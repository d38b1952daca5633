"""Rule scores_table."""

from maskedsae.grid import gathered
from maskedsae.job import job, log
from maskedsae.report.scores import collect, write_rows

with job(snakemake.log[0]):
    streams = gathered(snakemake.params.settings)["streams"]
    rows = collect(list(snakemake.input), {stream["name"]: stream["p"] for stream in streams})
    write_rows(snakemake.output[0], rows)
    log.info("%s: %s numbers of %d files", snakemake.output[0], f"{len(rows):,}", len(snakemake.input))
