"""Rule world_lm."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.world.language_model import train_language_model
    from maskedsae.world.settings import LanguageModelSettings

    settings = entry.settings(LanguageModelSettings)
    train_language_model(snakemake.input[0], snakemake.output[0], settings, entry.compute.threads)
