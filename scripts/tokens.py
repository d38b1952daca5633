"""Rule tokens."""

from pathlib import Path

from maskedsae.files import read_json
from maskedsae.grid import gathered
from maskedsae.job import job
from maskedsae.leases import Lease
from maskedsae.models import tokenizer_of
from maskedsae.packing import token_arguments, write_tokens

folder = Path(snakemake.output[0]).parent

with job(snakemake.log[0]), Lease(folder):
    facts, settings = read_json(snakemake.input.model), gathered(snakemake.params)
    write_tokens(
        folder,
        tokenizer_of(facts),
        settings["corpus"],
        **token_arguments(settings, facts["bos"]),
        threads=snakemake.config["compute"]["token_threads"],
    )
