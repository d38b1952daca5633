# ood_differences: OOD AUCs of each SAE less those of its baseline, paired row by row, with intervals.
# figure_*:        the figures of the report, each in three formats, from scores.csv and whatever else it shows.
# report:          report.html, one file, from all of these, the tables, and the records of what was run.


rule ood_differences:
    input:
        grid.in_each(grid.of_language_models(experiment, TABLE_CELLS), "scores/ood_rows.csv"),
    output:
        "results/{run}/ood_differences.json",
    log:
        "results/{run}/logs/ood_differences.log",
    benchmark:
        "results/{run}/benchmarks/ood_differences.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        settings=params(lambda model: settings_of.difference_settings(experiment)),
    script:
        "../scripts/ood_differences.py"


for drawn in outputs.figures(experiment):

    rule:
        name:
            f"figure_{drawn.file}"
        input:
            **outputs.figure_inputs(experiment, drawn, TABLE_CELLS),
        output:
            report(
                f"results/{experiment.run}/figures/{drawn.file}.svg",
                caption=f"../report/{drawn.figure}.rst",
                category="Figures",
                labels={"figure": outputs.title(drawn), "trainer": drawn.trainer or "all"},
            ),
            f"results/{experiment.run}/figures/{drawn.file}.pdf",
            f"results/{experiment.run}/figures/{drawn.file}.png",
        log:
            f"results/{experiment.run}/logs/figure/{drawn.file}.log",
        benchmark:
            f"results/{experiment.run}/benchmarks/figure/{drawn.file}.tsv"
        localrule: True
        conda:
            "../envs/maskedsae.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime="10m",
        params:
            settings=params(lambda model, drawn=drawn: settings_of.figure_settings(experiment, drawn)),
        script:
            "../scripts/figure.py"


# What was run for the tables: for each step, its jobs' benchmark files and other records.
STEPS = outputs.steps(experiment, TABLE_JOBS, lambda rule: str(getattr(rules, rule).benchmark))


rule report:
    input:
        **outputs.page_inputs(experiment, TABLE_CELLS, workflow.basedir),
        published=rules.tables.input.published,
    output:
        report(
            f"results/{experiment.run}/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"page": "Figures, tables, caveats and what was run"},
        ),
    log:
        f"results/{experiment.run}/logs/report.log",
    benchmark:
        f"results/{experiment.run}/benchmarks/report.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=params(lambda model: settings_of.page_settings(experiment, outputs.figures(experiment), STEPS, config)),
    script:
        "../scripts/report.py"
