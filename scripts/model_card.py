"""Rule model_card."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.report.model_card import write_card
    from maskedsae.report.settings import CardSettings

    inputs, settings = dict(snakemake.input.items()), entry.settings(CardSettings)
    write_card(inputs, settings, snakemake.output.card, snakemake.output.files)
