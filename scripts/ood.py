"""Rule ood."""

from pathlib import Path

import torch

from maskedsae.files import write_json
from maskedsae.grid import gathered
from maskedsae.job import job, log
from maskedsae.ood.intervals import write_scores
from maskedsae.ood.scores import in_words, sae_probes

with job(snakemake.log[0]):
    torch.set_num_threads(1)  # sums differ with it, and the number of workers must not show
    sae, settings = Path(snakemake.input.weights).parent, gathered(snakemake.params)
    result, scored = sae_probes(snakemake.input.activations, sae, settings, workers=snakemake.threads)
    write_scores(snakemake.output.rows, scored)
    write_json(snakemake.output.summary, result)
    cell = snakemake.wildcards
    log.info("%s %s l0 %s: %s", cell.model, cell.stream, cell.l0, in_words(result))
