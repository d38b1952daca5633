"""Rule ood_activations."""

from maskedsae.files import read_json
from maskedsae.grid import gathered
from maskedsae.job import job
from maskedsae.models import check_device, set_threads
from maskedsae.ood.last_tokens import write_activations

with job(snakemake.log[0]):
    compute = snakemake.config["compute"]
    check_device(compute["device"], "float32")
    set_threads(compute["threads"])
    facts, settings = read_json(snakemake.input.model), gathered(snakemake.params.settings)
    write_activations(snakemake.output[0], facts, settings, compute["device"])
