# model:  what the workflow needs to know about a language model. Fetches a hub model, and needs the network for that.
# tokens: the corpus as contexts of token ids for one model. Fetches the corpus, if it is on the hub.


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
        mem_mb=needs.megabytes(experiment, 2),
        runtime=needs.minutes(experiment, 1),
    params:
        settings=params(lambda model: settings_of.model_settings(experiment, model)),
    script:
        "../scripts/model.py"


rule tokens:
    input:
        model="results/{run}/{model}/model.json",
        corpus=experiment.corpus.files or [],
    output:
        "results/{run}/{model}/tokens/manifest.json",
    log:
        "results/{run}/logs/tokens/{model}.log",
    benchmark:
        "results/{run}/benchmarks/tokens/{model}.tsv"
    localrule: FETCH_HERE
    conda:
        "../envs/maskedsae.yaml"
    threads: experiment.compute.token_threads
    resources:
        mem_mb=needs.megabytes(experiment, 2),
        runtime=needs.minutes(experiment, needs.token_hours(experiment)),
    params:
        settings=params(lambda model: settings_of.token_settings(experiment)),
    script:
        "../scripts/tokens.py"
