# plan: what the other targets of a dry run will cost: snakemake --profile slurm -n all plan


rule plan:
    localrule: True
    params:
        plan=Plan(),
    message:
        "{params.plan}"
