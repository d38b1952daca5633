"""Rules truth_*."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.activations.planted.settings import TruthSettings
    from maskedsae.activations.planted.truth import write_facts

    write_facts(snakemake.output[0], entry.settings(TruthSettings))
