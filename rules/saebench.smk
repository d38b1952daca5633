# saebench_data:  the texts that SAEBench's evals read, in their form. Needs no GPU, but the network, unless the
#                 configuration asks for stand-ins.
# saebench_model: what all SAEs of a model share in SAEBench's evals: first-letter probes, activations, class probes.
# saebench:       the scores of one SAE by the evals that are asked for; one job, so that the language model and most
#                 libraries are loaded once.


rule saebench_data:
    input:
        # Stand-ins use texts that the run's own language models trained on last.
        "results/{run}/world/corpus.jsonl" if settings_of.stand_ins_read_corpus(experiment) else [],
    output:
        "results/{run}/saebench/data/manifest.json",
    log:
        "results/{run}/logs/saebench_data.log",
    benchmark:
        "results/{run}/benchmarks/saebench_data.tsv"
    localrule: FETCH_HERE
    conda:
        "../envs/maskedsae.yaml"
    resources:
        mem_mb=needs.megabytes(experiment, 4),
        runtime=needs.minutes(experiment, 2),  # whole sets from the hub, on a slow line
    params:
        settings=params(lambda model: settings_of.saebench_texts(experiment)),
    script:
        "../scripts/saebench_data.py"


rule saebench_model:
    input:
        model="results/{run}/{model}/model.json",
        data="results/{run}/saebench/data/manifest.json",
    output:
        "results/{run}/{model}/saebench/manifest.json",
    log:
        "results/{run}/logs/saebench_model/{model}.log",
    benchmark:
        "results/{run}/benchmarks/saebench_model/{model}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: experiment.compute.threads
    resources:
        mem_mb=lambda wildcards, attempt: needs.saebench_memory(experiment, wildcards.model).at(attempt),
        runtime=lambda wildcards, attempt: needs.saebench_time(experiment, wildcards.model, shared=True).at(attempt),
        gpu=needs.gpus(experiment),
    params:
        settings=params(lambda model: settings_of.sharing(experiment, model)),
    script:
        "../scripts/saebench_model.py"


rule saebench:
    input:
        model="results/{run}/{model}/model.json",
        data="results/{run}/saebench/data/manifest.json",
        shared="results/{run}/{model}/saebench/manifest.json",
        sae=f"{Cell.FOLDER}/sae/ae.pt",
        config=f"{Cell.FOLDER}/sae/config.json",
        sums=f"{Cell.FOLDER}/sae/SHA256SUMS",
    output:
        [f"{Cell.FOLDER}/scores/{score}.json" for score in (*grid.saebench_scores(experiment), "provenance")],
    log:
        f"results/{{run}}/logs/saebench/{Cell.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/saebench/{Cell.NAME}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: experiment.compute.threads
    resources:
        mem_mb=lambda wildcards, attempt: needs.saebench_memory(experiment, wildcards.model).at(attempt),
        runtime=lambda wildcards, attempt: needs.saebench_time(experiment, wildcards.model, shared=False).at(attempt),
        gpu=needs.gpus(experiment),
    params:
        settings=params(lambda model: settings_of.scoring(experiment, model)),
    script:
        "../scripts/saebench.py"
