"""Rule saebench."""

from pathlib import Path

from maskedsae.files import read_json
from maskedsae.grid import gathered
from maskedsae.job import job, log
from maskedsae.saebench.scoring import score
from maskedsae.saebench.words import in_words

cell = Path(snakemake.output[0]).parents[1]
shared, data = Path(snakemake.input.shared).parent, Path(snakemake.input.data).parent
name = Path(snakemake.log[0]).stem  # {model}_{stream}_{trainer}_l0_{l0}_seed_{seed}

with job(snakemake.log[0]):
    facts, settings = read_json(snakemake.input.model), gathered(snakemake.params.settings)
    compute = snakemake.config["compute"]
    results = score(cell, name, facts, settings, shared, data, compute["device"], compute["threads"])
    of = snakemake.wildcards
    log.info("%s %s l0 %s: %s", of.model, of.stream, of.l0, in_words(results))
