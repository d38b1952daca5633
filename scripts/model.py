"""Rule model."""

from maskedsae.jobs.entry import job

with job(snakemake, fetches=True) as entry:
    from maskedsae.activations.language_models import write_facts
    from maskedsae.activations.settings import ModelSettings

    write_facts(snakemake.output[0], entry.settings(ModelSettings))
