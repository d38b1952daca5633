"""Rules figure_*."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.report.figures.draw import draw
    from maskedsae.report.settings import FigureSettings

    inputs, settings = dict(snakemake.input.items()), entry.settings(FigureSettings)
    draw(inputs, settings, list(snakemake.output))
