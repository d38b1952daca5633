"""Rule oracle."""

from maskedsae.files import write_json
from maskedsae.grid import gathered
from maskedsae.job import job, log
from maskedsae.ood.intervals import write_scores
from maskedsae.ood.scores import in_words, oracle

with job(snakemake.log[0]):
    result, scored = oracle(snakemake.input.activations, gathered(snakemake.params), workers=snakemake.threads)
    write_scores(snakemake.output.rows, scored)
    write_json(snakemake.output.summary, result)
    log.info("%s oracle: %s", snakemake.wildcards.model, in_words(result))
