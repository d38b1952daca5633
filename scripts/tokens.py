"""Rule tokens."""

from pathlib import Path

from maskedsae.files import read_json
from maskedsae.grid import gathered, token_arguments
from maskedsae.job import job
from maskedsae.models import tokenizer_of
from maskedsae.packing import write_tokens

with job(snakemake.log[0]):
    facts, settings = read_json(snakemake.input.model), gathered(snakemake.params)
    write_tokens(
        Path(snakemake.output[0]).parent,
        tokenizer_of(facts),
        settings["corpus"],
        **token_arguments(settings, facts["bos"]),
        threads=snakemake.config["compute"]["token_threads"],
    )
