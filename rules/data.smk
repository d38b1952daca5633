# model:  what the workflow needs to know of a language model; fetches a hub model, so it needs the network then.
# tokens: the corpus as contexts of token ids for one model; fetches the corpus, if it is on the hub.


rule model:
    input:
        model_files,
    output:
        "results/{run}/{model}/model.json",
    log:
        "results/{run}/logs/model/{model}.log",
    benchmark:
        "results/{run}/benchmarks/model/{model}.tsv"
    localrule: FETCH_HERE
    conda:
        "../envs/maskedsae.yaml"
    resources:
        mem_mb=needs.megabytes(config, 2),
        runtime=needs.minutes(config, 1),
    params:
        settings=lambda wildcards: cells_of.model_settings(config, wildcards.model),
    script:
        "../scripts/model.py"


rule tokens:
    input:
        model="results/{run}/{model}/model.json",
        corpus=config["corpus"]["files"] or [],
    output:
        "results/{run}/{model}/tokens/manifest.json",
    log:
        "results/{run}/logs/tokens/{model}.log",
    benchmark:
        "results/{run}/benchmarks/tokens/{model}.tsv"
    localrule: FETCH_HERE
    conda:
        "../envs/maskedsae.yaml"
    threads: config["compute"]["token_threads"]
    resources:
        mem_mb=needs.megabytes(config, 2),
        runtime=needs.minutes(config, needs.token_hours(config)),
    params:
        *cells_of.spelled_out(cells_of.token_settings(config)),
    script:
        "../scripts/tokens.py"
