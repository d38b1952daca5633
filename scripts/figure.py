"""Rules figure_*."""

from maskedsae.grid import gathered
from maskedsae.job import job
from maskedsae.report.figures.draw import draw

with job(snakemake.log[0]):
    draw(dict(snakemake.input.items()), gathered(snakemake.params.settings), list(snakemake.output))
