"""Rule publish."""

from maskedsae.jobs.entry import job

with job(snakemake, fetches=True) as entry:
    from maskedsae.report.settings import UploadSettings
    from maskedsae.report.upload import upload

    upload(snakemake.input.files, entry.settings(UploadSettings), snakemake.output[0])
