# ood_activations: the language model's activations on the eight data sets, once a model.
# oracle:          probes on these; what an SAE's probes are compared with.
# ood:             probes on the latents of one SAE. Both also write each test row's score, for paired comparisons.


rule ood_activations:
    input:
        model="results/{run}/{model}/model.json",
    output:
        "results/{run}/{model}/ood/activations.safetensors",
    log:
        "results/{run}/logs/ood_activations/{model}.log",
    benchmark:
        "results/{run}/benchmarks/ood_activations/{model}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: config["compute"]["threads"]
    resources:
        mem_mb=needs.megabytes(config, 8),
        runtime=needs.minutes(config, needs.OOD_ACTIVATIONS_HOURS),
        gpu=needs.gpus(config),
    params:
        settings=lambda wildcards: cells_of.spelled_out(cells_of.ood_activation_settings(config, wildcards.model)),
    script:
        "../scripts/ood_activations.py"


rule oracle:
    input:
        activations="results/{run}/{model}/ood/activations.safetensors",
    output:
        summary="results/{run}/{model}/oracle.json",
        rows="results/{run}/{model}/oracle_rows.csv",
    log:
        "results/{run}/logs/oracle/{model}.log",
    benchmark:
        "results/{run}/benchmarks/oracle/{model}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: config["compute"]["probe_threads"]
    resources:
        mem_mb=needs.megabytes(config, 4),
        runtime=needs.minutes(config, 0.5),
    params:
        *cells_of.spelled_out(cells_of.oracle_settings(config)),
    script:
        "../scripts/oracle.py"


rule ood:
    input:
        activations="results/{run}/{model}/ood/activations.safetensors",
        config="results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/sae/cfg.json",
        weights="results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/sae/sae_weights.safetensors",
    output:
        summary="results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/scores/ood.json",
        rows="results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/scores/ood_rows.csv",
    log:
        "results/{run}/logs/ood/{model}_{stream}_{trainer}_l0_{l0}_seed_{seed}.log",
    benchmark:
        "results/{run}/benchmarks/ood/{model}_{stream}_{trainer}_l0_{l0}_seed_{seed}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: config["compute"]["probe_threads"]
    resources:
        mem_mb=needs.megabytes(config, 4),
        runtime=needs.minutes(config, needs.OOD_ACTIVATIONS_HOURS),
    params:
        *cells_of.spelled_out(cells_of.ood_settings(config)),
    script:
        "../scripts/ood.py"
