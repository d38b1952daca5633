# plan: given beside the targets of a dry run, what they will take: snakemake --profile slurm -n all plan


rule plan:
    localrule: True
    params:
        plan=Plan(),
    message:
        "{params.plan}"
