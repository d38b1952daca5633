"""Rule saebench_data."""

from maskedsae.jobs.entry import job

with job(snakemake, fetches=True) as entry:
    from maskedsae.scores.saebench.settings import Texts

    settings = entry.settings(Texts)
    if settings.data.source == "hub":
        from maskedsae.scores.saebench.fetching import write_data  # each imports only what it needs
    else:
        from maskedsae.world.evaluations import write_data

    write_data(snakemake.output[0], settings, corpus=snakemake.input[0] if snakemake.input else None)
