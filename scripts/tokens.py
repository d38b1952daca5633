"""Rule tokens."""

from maskedsae.jobs.entry import job

with job(snakemake, fetches=True) as entry:
    from maskedsae.activations.tokenising import tokenise
    from maskedsae.text.settings import TokenSettings

    tokenise(snakemake.output[0], snakemake.input.model, entry.settings(TokenSettings), entry.compute)
