"""Rule report."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.report.page import write_page
    from maskedsae.report.settings import PageSettings

    inputs, settings = dict(snakemake.input.items()), entry.settings(PageSettings)
    write_page(inputs, settings, snakemake.output[0])
