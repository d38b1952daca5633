"""Rule ood_activations."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.ood.last_tokens import write_model_activations
    from maskedsae.scores.ood.settings import OodTexts

    settings = entry.settings(OodTexts)
    write_model_activations(snakemake.output[0], snakemake.input.model, settings, entry.compute)
