"""Rule ood_activations."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.activations.language_models import read_facts
    from maskedsae.scores.ood.last_tokens import write_activations
    from maskedsae.scores.ood.settings import OodTexts

    facts, settings = read_facts(snakemake.input.model), entry.settings(OodTexts)
    write_activations(snakemake.output[0], facts, settings, entry.compute)
