# scores_table: every number of the cells' score files in one table, scores.csv (of the SAEs that the tables need) or
#               grid_scores.csv (of all). A row a number, with its file.
# tables:       the paper's tables in three forms, a verdict on each of its claims, and headline numbers for a terminal.
#
# These and rules/figures.smk take seconds, so they run beside Snakemake and not as jobs of a cluster.

from maskedsae.report.published import FILES as PUBLISHED


rule scores_table:
    input:
        lambda wildcards: cells_of.score_files(
            TABLE_SETS + (OTHER_SETS if wildcards.cells == "grid_scores" else []), cells_of.oracles(config)
        ),
    output:
        "results/{run}/{cells}.csv",
    log:
        "results/{run}/logs/scores_table/{cells}.log",
    benchmark:
        "results/{run}/benchmarks/scores_table/{cells}.tsv"
    wildcard_constraints:
        cells="scores|grid_scores",
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=lambda wildcards: cells_of.spelled_out(cells_of.scores_table_settings(config)),
    script:
        "../scripts/scores_table.py"


rule tables:
    input:
        scores=f"results/{config['run']}/scores.csv",
        ood_rows=cells_of.ood_rows(TABLE_SETS) + cells_of.oracle_rows(config),
        published=[f"{workflow.basedir}/reference/{name}" for name in PUBLISHED],
    output:
        tables=[
            (
                report(path, caption="../report/table.rst", category="Tables", labels={"table": Path(path).stem})
                if path.endswith(".csv")  # which Snakemake's report shows as a table
                else path
            )
            for path in cells_of.table_files(config)
        ],
        verdicts=f"results/{config['run']}/verdicts.json",
        summary=f"results/{config['run']}/summary.txt",
    log:
        f"results/{config['run']}/logs/tables/tables.log",
    benchmark:
        f"results/{config['run']}/benchmarks/tables/tables.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=lambda wildcards: cells_of.spelled_out(cells_of.table_settings(config)),  # a mask may have braces
    script:
        "../scripts/tables.py"
