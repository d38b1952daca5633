"""Rule saebench."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.saebench.scoring import score_cell
    from maskedsae.scores.saebench.settings import Scoring

    score_cell(
        snakemake.output[0],
        snakemake.input.model,
        entry.settings(Scoring),
        snakemake.input.shared,
        snakemake.input.data,
        entry.compute,
    )
