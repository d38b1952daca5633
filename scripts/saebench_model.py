"""Rule saebench_model."""

from pathlib import Path

from maskedsae.files import read_json
from maskedsae.grid import gathered
from maskedsae.job import job
from maskedsae.saebench.shared import make_shared

folder, data = Path(snakemake.output[0]).parent, Path(snakemake.input.data).parent

with job(snakemake.log[0]):
    facts, settings = read_json(snakemake.input.model), gathered(snakemake.params.settings)
    compute = snakemake.config["compute"]
    make_shared(folder, facts, settings, data, compute["device"], compute["threads"])
