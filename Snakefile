# Does masking tokens during training make sparse autoencoders more robust?
#
# A configuration becomes a grid of cells; tokens flow through a language model into activations, activations into
# sparse autoencoders. Every path reads results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/…
#
#     snakemake --profile profiles/local -n saes     what would be done, and why
#     snakemake --profile profiles/local saes        do it, on this machine
#
# Always use a profile: it tells Snakemake what counts as a change.

from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/world.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/planted.smk"
include: "rules/ood.smk"
include: "rules/robustness.smk"
include: "rules/saebench.smk"
include: "rules/audit.smk"
include: "rules/imported.smk"
include: "rules/published.smk"
include: "rules/report.smk"
include: "rules/figures.smk"
include: "rules/publish.smk"
include: "rules/plan.smk"


localrules:
    all,
    saes,
    scores,
    grid,
    figures,


# Files taken from a rule carry it, so Snakemake need not look for them in the outputs of all rules.
TRAINED = {file: file for name in TRAINING for file in getattr(rules, name).output}


# The SAEs that the tables and the analysis need, and the imported ones.
rule saes:
    input:
        [TRAINED[file] for job in TABLE_JOBS for file in job.files()],
        [grid.imported_files(sae) for sae in IMPORTED],


# Their scores, and the oracles' for comparison.
rule scores:
    input:
        [grid.score_files(experiment, sae) for sae in TABLE_CELLS + IMPORTED],
        grid.oracles(experiment),


# Every SAE of model x stream x trainer x l0 x seed, its scores and its audit.
rule grid:
    input:
        [
            [TRAINED[file] for file in grid.sae_files(cell)]
            + grid.score_files(experiment, cell)
            + [f"{cell.folder}/audit.json"]
            for cell in TABLE_CELLS + OTHER_CELLS
        ],
        [grid.imported_files(sae) + grid.score_files(experiment, sae) for sae in IMPORTED],
        grid.oracles(experiment),
        f"results/{experiment.run}/grid_scores.csv",


# The figures; rules `tables` and `report` make the rest.
rule figures:
    input:
        rules.report.input.figures,


rule all:
    default_target: True
    input:
        rules.saes.input,
        rules.scores.input,
        rules.tables.output,
        grid.mechanisms(experiment, TABLE_CELLS),
        rules.figures.input,
        rules.report.output if TABLE_CELLS + IMPORTED else [],
