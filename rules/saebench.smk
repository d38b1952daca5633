# saebench_data:  the texts that SAEBench's evals read, in the form in which they read them; needs the network, unless
#                 stand-ins are asked for, and no GPU.
# saebench_model: what all SAEs of a model share in SAEBench's evals: first-letter probes, activations, class probes.
# saebench:       the five scores of one SAE, and its explained variance; one job, since imports and the language model
#                 are then paid once.


rule saebench_data:
    input:
        # Texts that the run's own language models have trained on are the last choice of its stand-ins.
        "results/{run}/world/corpus.jsonl" if cells_of.has_stand_ins_beside_a_world(config) else [],
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
        mem_mb=needs.megabytes(config, 4),
        runtime=needs.minutes(config, 2),  # whole sets of the hub, by a slow line
    params:
        *cells_of.spelled_out(cells_of.saebench_data_settings(config)),
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
    threads: config["compute"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: needs.saebench_memory(config, wildcards.model).at(attempt),
        runtime=lambda wildcards, attempt: needs.saebench_time(config, wildcards.model, of_model=True).at(attempt),
        gpu=needs.gpus(config),
    params:
        settings=lambda wildcards: cells_of.spelled_out(cells_of.saebench_model_settings(config, wildcards.model)),
    script:
        "../scripts/saebench_model.py"


rule saebench:
    input:
        model="results/{run}/{model}/model.json",
        data="results/{run}/saebench/data/manifest.json",
        shared="results/{run}/{model}/saebench/manifest.json",
        sae="results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/sae/ae.pt",
        config="results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/sae/config.json",
        sums="results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/sae/SHA256SUMS",
    output:
        expand(
            "results/{{run}}/{{model}}/{{stream}}/{{trainer}}/l0_{{l0}}/seed_{{seed}}/scores/{score}.json",
            score=(*cells_of.SAEBENCH_SCORES, "provenance"),
        ),
    log:
        "results/{run}/logs/saebench/{model}_{stream}_{trainer}_l0_{l0}_seed_{seed}.log",
    benchmark:
        "results/{run}/benchmarks/saebench/{model}_{stream}_{trainer}_l0_{l0}_seed_{seed}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: config["compute"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: needs.saebench_memory(config, wildcards.model).at(attempt),
        runtime=lambda wildcards, attempt: needs.saebench_time(config, wildcards.model, of_model=False).at(attempt),
        gpu=needs.gpus(config),
    params:
        settings=lambda wildcards: cells_of.spelled_out(cells_of.saebench_settings(config, wildcards.model)),
    script:
        "../scripts/saebench.py"
