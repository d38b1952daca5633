# world_text: the corpus for small language models that the workflow trains itself, from text that sae-probes ships.
# world_lm:   one of these models, as a Hugging Face model directory. It is made if a model of the configuration has it
#             as `path`; all other rules treat it like any local model.


rule world_text:
    output:
        "results/{run}/world/corpus.jsonl",
    log:
        "results/{run}/logs/world_text.log",
    benchmark:
        "results/{run}/benchmarks/world_text.tsv"
    conda:
        "../envs/maskedsae.yaml"
    resources:
        mem_mb=needs.megabytes(experiment, 1),
        runtime=needs.minutes(experiment, 0.5),
    params:
        settings=params(lambda model: settings_of.corpus_settings(experiment)),
    script:
        "../scripts/world_text.py"


rule world_lm:
    input:
        "results/{run}/world/corpus.jsonl",
    output:
        multiext(
            "results/{run}/world/{lm}/",
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ),
    log:
        "results/{run}/logs/world_lm/{lm}.log",
    benchmark:
        "results/{run}/benchmarks/world_lm/{lm}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: experiment.compute.threads
    resources:
        mem_mb=needs.megabytes(experiment, 2),
        runtime=needs.minutes(experiment, 0.5),
    params:
        settings=params(lambda lm: settings_of.language_model_settings(experiment, lm), wildcard="lm"),
    script:
        "../scripts/world_lm.py"
