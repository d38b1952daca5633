"""Rules train_* on planted truths."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.saes.planted import train_planted_job
    from maskedsae.saes.settings import TrainJobSettings

    train_planted_job(snakemake.output, entry.settings(TrainJobSettings), snakemake.input.model, entry.compute)
