"""Rule model."""

from maskedsae.jobs.entry import job

with job(snakemake, fetches=True) as entry:
    from maskedsae.activations.language_models import write_facts
    from maskedsae.activations.settings import ModelSettings, Stream

    # Streams are no setting of this rule, whose result does not depend on them: another one plans no model again.
    streams = [Stream.from_plain(stream) for stream in snakemake.config["streams"]]
    write_facts(snakemake.output[0], entry.settings(ModelSettings), streams)
