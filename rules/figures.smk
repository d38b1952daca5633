# ood_differences: OOD AUCs of masked SAEs less those of unmasked ones, paired row by row, with intervals.
# figure_*:        the figures of the report, each in three forms, from scores.csv and what else it shows.
# report:          report.html, one file, from all of these, the tables, and the records of what was run.

from maskedsae.report import plan


rule ood_differences:
    input:
        cells_of.ood_rows(TABLE_SETS),
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
        *cells_of.spelled_out(cells_of.difference_settings(config)),
    script:
        "../scripts/ood_differences.py"


for name, (figure, trainer) in plan.figures(config).items():

    rule:
        name:
            f"figure_{name}"
        input:
            **plan.figure_inputs(config, figure, trainer, TABLE_SETS),
        output:
            report(
                f"results/{config['run']}/figures/{name}.svg",
                caption=f"../report/{figure}.rst",
                category="Figures",
                labels={"figure": plan.FIGURES[figure], "trainer": trainer},
            ),
            f"results/{config['run']}/figures/{name}.pdf",
            f"results/{config['run']}/figures/{name}.png",
        log:
            f"results/{config['run']}/logs/figure/{name}.log",
        benchmark:
            f"results/{config['run']}/benchmarks/figure/{name}.tsv"
        localrule: True
        conda:
            "../envs/maskedsae.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime="10m",
        params:
            settings=lambda wildcards, figure=figure, trainer=trainer: cells_of.spelled_out(
                cells_of.figure_settings(config, figure, trainer)  # a mask may have braces
            ),
        script:
            "../scripts/figure.py"


# What was run for the tables: of each step, its jobs' benchmark files and what else tells of it.
STEPS = [
    {
        "words": step["words"],
        "gpus": step["gpus"],
        "provenance": step["provenance"],
        "files": plan.jobs(config, TABLE_SETS, [str(getattr(rules, name).benchmark) for name in step["rules"]]),
    }
    for step in plan.steps(config, TABLE_SETS)
]


rule report:
    input:
        **plan.page_inputs(config, TABLE_SETS, workflow.basedir),
        published=rules.tables.input.published,
    output:
        report(
            f"results/{config['run']}/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"page": "Figures, tables, caveats and what was run"},
        ),
    log:
        f"results/{config['run']}/logs/report.log",
    benchmark:
        f"results/{config['run']}/benchmarks/report.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=lambda wildcards: cells_of.spelled_out(cells_of.page_settings(config) | {"steps": STEPS}),
    script:
        "../scripts/report.py"
