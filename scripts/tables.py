"""Rule tables."""

from pathlib import Path

from maskedsae.grid import gathered
from maskedsae.job import job, log
from maskedsae.report.make import write_report_tables

with job(snakemake.log[0]):
    to = {name: snakemake.output[name] for name in ("tables", "verdicts", "summary")}
    reference = Path(snakemake.input.published[0]).parent
    write_report_tables(snakemake.input.scores, reference, gathered(snakemake.params.settings), to)
    log.info("%s: the tables; %s: in short", Path(to["tables"][0]).parent if to["tables"] else "none", to["summary"])
