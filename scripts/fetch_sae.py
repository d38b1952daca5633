"""Rule fetch_sae."""

from maskedsae.jobs.entry import job

with job(snakemake, fetches=True) as entry:
    from maskedsae.saes.imported.fetching import fetch_job
    from maskedsae.saes.imported.settings import FetchSettings

    fetch_job(snakemake.output[0], snakemake.input.model, entry.settings(FetchSettings))
