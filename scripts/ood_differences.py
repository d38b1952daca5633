"""Rule ood_differences."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.inference.paired import differences
    from maskedsae.inference.settings import DifferenceSettings
    from maskedsae.jobs.files import write_json

    settings = entry.settings(DifferenceSettings)
    write_json(snakemake.output[0], differences(list(snakemake.input), settings))
