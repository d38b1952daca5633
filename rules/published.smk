# published: SAEBench's scores of an imported SAE as others published them, from files or from the hub; so it may need
#            the network, and no GPU.


rule published:
    input:
        lambda wildcards: grid.published_inputs(experiment, wildcards.sae),
    output:
        f"{Imported.FOLDER}/published.json",
    log:
        f"results/{{run}}/logs/published/{Imported.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/published/{Imported.NAME}.tsv"
    localrule: FETCH_HERE
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=needs.minutes(experiment, 0.5),
    params:
        settings=params(lambda sae: settings_of.published_settings(experiment, sae), wildcard="sae"),
    script:
        "../scripts/published.py"
