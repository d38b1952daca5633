"""Rules train_*."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.saes.settings import TrainJobSettings
    from maskedsae.saes.training import train_job

    settings = entry.settings(TrainJobSettings)
    train_job(snakemake.output, settings, snakemake.input.model, snakemake.input.tokens, entry.compute)
