"""Rule scores_table."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.settings import ScoresTableSettings
    from maskedsae.scores.table import write_table

    settings = entry.settings(ScoresTableSettings)
    write_table(snakemake.output[0], list(snakemake.input), settings)
