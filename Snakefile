# Does masking tokens during training make sparse autoencoders more robust?
#
# A configuration becomes a grid of cells; tokens flow through a language model into activations, activations into
# sparse autoencoders. Every path reads results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/…
#
#     snakemake --profile profiles/local -n saes     what would be done, and why
#     snakemake --profile profiles/local saes        do it, on this machine
#
# Always with a profile: it tells Snakemake what counts as a change.

from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/world.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/ood.smk"
include: "rules/saebench.smk"
include: "rules/report.smk"
include: "rules/figures.smk"
include: "rules/plan.smk"


localrules:
    all,
    saes,
    scores,
    grid,
    figures,


# The SAEs that the tables need.
rule saes:
    input:
        [cells.files() for cells in TABLE_SETS],


# Their scores, and those that they are compared with.
rule scores:
    input:
        [cells.scores() for cells in TABLE_SETS],
        cells_of.oracles(config),


# Every SAE of model x stream x trainer x l0 x seed, and its scores.
rule grid:
    input:
        [cells.files() + cells.scores() for cells in TABLE_SETS + OTHER_SETS],
        cells_of.oracles(config),
        f"results/{config['run']}/grid_scores.csv",


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
        rules.figures.input,
        rules.report.output if config["tables"] else [],  # which shows what the tables show
