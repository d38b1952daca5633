"""Rule tables."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.inference.settings import TableSettings
    from maskedsae.report.make import write_report_tables

    write_report_tables(
        snakemake.input.scores,
        snakemake.input.verdicts,
        snakemake.input.published,
        list(snakemake.input.theirs),
        entry.settings(TableSettings).shown,
        tables_to=list(snakemake.output.tables),
        summary_to=snakemake.output.summary,
    )
