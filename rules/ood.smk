# ood_activations: the language model's activations on the eight data sets, once per model.
# oracle:          probes on these activations, for comparison with an SAE's.
# ood:             probes on the latents of one SAE, and how many it takes to come near the oracle. Both also write each
#                  test row's score, for paired comparisons.


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
    threads: experiment.compute.threads
    resources:
        mem_mb=needs.megabytes(experiment, 8),
        runtime=needs.minutes(experiment, needs.OOD_ACTIVATIONS_HOURS),
        gpu=needs.gpus(experiment),
    params:
        settings=params(lambda model: settings_of.ood_texts(experiment, model)),
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
    threads: experiment.compute.probe_threads
    resources:
        mem_mb=needs.megabytes(experiment, 4),
        runtime=needs.minutes(experiment, needs.ORACLE_HOURS),
    params:
        settings=params(lambda model: settings_of.oracle_probing(experiment)),
    script:
        "../scripts/oracle.py"


rule ood:
    input:
        activations="results/{run}/{model}/ood/activations.safetensors",
        config=f"{Cell.FOLDER}/sae/cfg.json",
        weights=f"{Cell.FOLDER}/sae/sae_weights.safetensors",
        oracle="results/{run}/{model}/oracle.json",
    output:
        summary=f"{Cell.FOLDER}/scores/ood.json",
        rows=f"{Cell.FOLDER}/scores/ood_rows.csv",
    log:
        f"results/{{run}}/logs/ood/{Cell.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/ood/{Cell.NAME}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: experiment.compute.probe_threads
    resources:
        mem_mb=needs.megabytes(experiment, 4),
        runtime=needs.minutes(experiment, needs.PROBING_HOURS),
    params:
        settings=params(lambda model: settings_of.probing(experiment)),
    script:
        "../scripts/ood.py"
