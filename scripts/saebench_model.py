"""Rule saebench_model."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.saebench.settings import Sharing
    from maskedsae.scores.saebench.shared import make_shared

    make_shared(
        snakemake.output[0],
        snakemake.input.model,
        entry.settings(Sharing),
        snakemake.input.data,
        entry.compute,
    )
