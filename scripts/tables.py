"""Rule tables."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.inference.settings import TableSettings
    from maskedsae.report.make import write_report_tables

    write_report_tables(
        snakemake.input.scores,
        snakemake.input.published,
        entry.settings(TableSettings).shown,
        tables_to=list(snakemake.output.tables),
        verdicts_to=snakemake.output.verdicts,
        summary_to=snakemake.output.summary,
    )
