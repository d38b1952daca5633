"""Rule import_sae."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.saes.imported.make import import_job
    from maskedsae.saes.imported.settings import ImportSettings

    settings = entry.settings(ImportSettings)
    import_job(snakemake.output[0], snakemake.input.model, snakemake.input.tokens, settings, entry.compute)
