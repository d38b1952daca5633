# scores_table: every number in the cells' score files as one table, scores.csv (for the SAEs that the tables need) or
#               grid_scores.csv (for all). One row per number, with its file. Beside it the same as .parquet.
# contrasts:    differences between streams, paired by data seed, and the verdicts on the paper's claims.
# tables:       the paper's tables and those of imported SAEs in three formats, and a summary for a terminal.
#
# These rules and those of rules/figures.smk take seconds, so they run beside Snakemake and not as cluster jobs.

from maskedsae.experiment import outputs


rule scores_table:
    input:
        lambda wildcards: grid.measured_files(
            experiment, TABLE_CELLS + (OTHER_CELLS if wildcards.table == "grid_scores" else []) + IMPORTED
        ),
        grid.oracles(experiment),
    output:
        "results/{run}/{table}.csv",
        "results/{run}/{table}.parquet",
    log:
        "results/{run}/logs/scores_table/{table}.log",
    benchmark:
        "results/{run}/benchmarks/scores_table/{table}.tsv"
    wildcard_constraints:
        table="scores|grid_scores",
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=params(lambda model: settings_of.scores_table_settings(experiment)),
    script:
        "../scripts/scores_table.py"


rule contrasts:
    input:
        scores=f"results/{experiment.run}/scores.csv",
        published=outputs.published_files(workflow.basedir),
    output:
        contrasts=f"results/{experiment.run}/contrasts.csv",
        verdicts=f"results/{experiment.run}/verdicts.json",
    log:
        f"results/{experiment.run}/logs/contrasts.log",
    benchmark:
        f"results/{experiment.run}/benchmarks/contrasts.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=params(lambda model: settings_of.contrast_settings(experiment)),
    script:
        "../scripts/contrasts.py"


rule tables:
    input:
        scores=f"results/{experiment.run}/scores.csv",
        verdicts=f"results/{experiment.run}/verdicts.json",
        published=outputs.published_files(workflow.basedir),
        theirs=grid.published_scores(experiment),
    output:
        tables=[
            (
                report(
                    path,
                    caption="../report/table.rst",
                    category="Tables",
                    labels={"table": os.path.basename(path)[:-4]},
                )
                if path.endswith(".csv")  # Snakemake's report shows it as a table
                else path
            )
            for path in grid.table_files(experiment)
        ],
        summary=f"results/{experiment.run}/summary.txt",
    log:
        f"results/{experiment.run}/logs/tables/tables.log",
    benchmark:
        f"results/{experiment.run}/benchmarks/tables/tables.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=params(lambda model: settings_of.table_settings(experiment)),
    script:
        "../scripts/tables.py"
