"""Rule contrasts."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.inference.make import write_inference
    from maskedsae.inference.settings import ContrastSettings

    write_inference(
        snakemake.input.scores,
        snakemake.input.published,
        entry.settings(ContrastSettings).shown,
        contrasts_to=snakemake.output.contrasts,
        verdicts_to=snakemake.output.verdicts,
    )
