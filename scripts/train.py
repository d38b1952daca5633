"""Rules train_*."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.activations.language_models import read_facts
    from maskedsae.saes.settings import TrainJobSettings
    from maskedsae.saes.training import folders_of, train_cells

    train_cells(
        folders_of(snakemake.output),
        entry.settings(TrainJobSettings),
        read_facts(snakemake.input.model),
        snakemake.input.tokens,
        entry.compute,
    )
