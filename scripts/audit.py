"""Rule audit."""

from maskedsae.jobs.entry import job

with job(snakemake) as entry:
    from maskedsae.scores.audit.audit import write_audit
    from maskedsae.scores.audit.settings import AuditSettings

    write_audit(
        snakemake.output[0], snakemake.input.training, list(snakemake.input.probes), entry.settings(AuditSettings)
    )
