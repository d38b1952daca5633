"""Rule robustness_activations."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.robustness.activations import write_activations
    from maskedsae.scores.robustness.settings import RobustnessTexts

    settings, given = entry.settings(RobustnessTexts), snakemake.input
    write_activations(snakemake.output[0], given.model, given.tokens, settings, entry.compute)
