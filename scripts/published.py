"""Rule published."""

from maskedsae.jobs.entry import job

with job(snakemake, fetches=True) as entry:
    from maskedsae.scores.saebench.published import write_published
    from maskedsae.scores.settings import PublishedSettings

    write_published(snakemake.output[0], list(snakemake.input), entry.settings(PublishedSettings))
