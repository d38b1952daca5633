"""Rule model."""

from maskedsae.jobs.entry import job

with job(snakemake, fetches=True) as entry:
    from maskedsae.activations.language_models import read_facts, write_facts
    from maskedsae.activations.settings import ModelSettings, Stream

    # Streams and evals are no settings of this rule, whose result does not depend on them: others plan no model again.
    streams = [Stream.from_plain(stream) for stream in snakemake.config["streams"]]
    write_facts(snakemake.output[0], entry.settings(ModelSettings), streams)
    if snakemake.config["saebench"]["evals"]:
        from maskedsae.scores.saebench.language_model import check_known

        check_known(read_facts(snakemake.output[0]))
