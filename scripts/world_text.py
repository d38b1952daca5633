"""Rule world_text."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.world.settings import CorpusSettings
    from maskedsae.world.text import write_corpus

    settings = entry.settings(CorpusSettings)
    write_corpus(snakemake.output[0], settings.characters, settings.seed)
