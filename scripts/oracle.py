"""Rule oracle."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.ood.scores import write_oracle
    from maskedsae.scores.ood.settings import Probing

    settings, workers = entry.settings(Probing), snakemake.threads
    write_oracle(snakemake.output.summary, snakemake.output.rows, snakemake.input.activations, settings, workers)
