"""Rule robustness."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.robustness.scores import write_scores
    from maskedsae.scores.robustness.settings import RobustnessSettings

    settings, given, made = entry.settings(RobustnessSettings), snakemake.input, snakemake.output
    write_scores(made.robustness, made.parents, given.activations, given.weights, settings)
