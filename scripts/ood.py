"""Rule ood."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.ood.scores import write_sae_probes
    from maskedsae.scores.ood.settings import SaeProbing

    settings, workers = entry.settings(SaeProbing), snakemake.threads
    write_sae_probes(
        snakemake.output.summary,
        snakemake.output.rows,
        snakemake.input.activations,
        snakemake.input.weights,
        snakemake.input.oracle,
        settings,
        workers,
    )
