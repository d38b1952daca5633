"""Rule mechanism."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.inference.mechanism import write_mechanism
    from maskedsae.inference.settings import MechanismSettings

    settings, given = entry.settings(MechanismSettings), snakemake.input
    write_mechanism(snakemake.output[0], given.activations, given.weights, given.scores, settings)
