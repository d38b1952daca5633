# robustness_activations: held-out text through the language model, clean and corrupted, once per model.
# robustness:             how one SAE's reading of untouched tokens changes, and absorption of parents known per token.
# mechanism:              does parent-child information, on clean and on masked text, predict absorption letter by letter?


rule robustness_activations:
    input:
        model="results/{run}/{model}/model.json",
        tokens="results/{run}/{model}/tokens/manifest.json",
    output:
        "results/{run}/{model}/robustness/activations.safetensors",
    log:
        "results/{run}/logs/robustness_activations/{model}.log",
    benchmark:
        "results/{run}/benchmarks/robustness_activations/{model}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: experiment.compute.threads
    resources:
        mem_mb=needs.megabytes(experiment, 8),
        runtime=lambda wildcards, attempt: needs.robustness_time(experiment, wildcards.model).at(attempt),
        gpu=needs.gpus(experiment),
    params:
        settings=params(lambda model: settings_of.robustness_texts(experiment, model)),
    script:
        "../scripts/robustness_activations.py"


rule robustness:
    input:
        activations="results/{run}/{model}/robustness/activations.safetensors",
        config=f"{Cell.FOLDER}/sae/cfg.json",
        weights=f"{Cell.FOLDER}/sae/sae_weights.safetensors",
    output:
        robustness=f"{Cell.FOLDER}/scores/robustness.json",
        parents=f"{Cell.FOLDER}/scores/parents.json",
    log:
        f"results/{{run}}/logs/robustness/{Cell.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/robustness/{Cell.NAME}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.robustness_memory(experiment, wildcards.model).at(attempt),
        runtime=needs.minutes(experiment, needs.ROBUSTNESS_HOURS),
    params:
        settings=params(lambda stream: settings_of.robustness(experiment, stream), "stream"),
    script:
        "../scripts/robustness.py"


rule mechanism:
    input:
        activations="results/{run}/{model}/robustness/activations.safetensors",
        weights=lambda wildcards: (
            f"{grid.reference_cell(experiment, wildcards.model, TABLE_CELLS).folder}/sae/sae_weights.safetensors"
        ),
        config=lambda wildcards: f"{grid.reference_cell(experiment, wildcards.model, TABLE_CELLS).folder}/sae/cfg.json",
        scores="results/{run}/scores.csv",
    output:
        "results/{run}/{model}/mechanism.json",
    log:
        "results/{run}/logs/mechanism/{model}.log",
    benchmark:
        "results/{run}/benchmarks/mechanism/{model}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: needs.robustness_memory(experiment, wildcards.model).at(attempt),
        runtime=needs.minutes(experiment, needs.ROBUSTNESS_HOURS),
    params:
        settings=params(lambda model: settings_of.mechanism(experiment, model)),
    script:
        "../scripts/mechanism.py"
