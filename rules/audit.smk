# audit: seven questions to each SAE, from what its training and its probes have written. Its thresholds are part of
#        nothing else: changing one audits again and trains nothing. A second each, so it runs beside Snakemake.


rule audit:
    input:
        training=f"{Cell.FOLDER}/training.csv",
        sae=[f"{Cell.FOLDER}/sae/{name}" for name in grid.SAE_FILES],
        probes=lambda wildcards: grid.probe_rows(experiment, Cell.parse(Cell.FOLDER.format(**dict(wildcards.items())))),
    output:
        f"{Cell.FOLDER}/audit.json",
    log:
        f"results/{{run}}/logs/audit/{Cell.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/audit/{Cell.NAME}.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=params(lambda model: settings_of.audit_settings(experiment)),
    script:
        "../scripts/audit.py"
