"""Rules planted_*."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.planted.scores import write_scores
    from maskedsae.scores.planted.settings import PlantedScoring

    write_scores(snakemake.output, snakemake.input.model, entry.settings(PlantedScoring), entry.compute)
