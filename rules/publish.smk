# model_card: a page about the SAEs for the hub, and the list of the files that would be sent. Sends nothing.
# publish:    sends them to the repository that section `publish` of the configuration names. No other target asks for it.


rule model_card:
    input:
        **outputs.card_inputs(experiment, TABLE_CELLS, workflow.basedir),
    output:
        card=f"results/{experiment.run}/publish/README.md",
        files=f"results/{experiment.run}/publish/SHA256SUMS",
    log:
        f"results/{experiment.run}/logs/model_card.log",
    benchmark:
        f"results/{experiment.run}/benchmarks/model_card.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="10m",
    params:
        settings=params(lambda model: settings_of.card_settings(experiment)),
    script:
        "../scripts/model_card.py"


rule publish:
    input:
        files=rules.model_card.output.files if experiment.publish else [],
    output:
        f"results/{experiment.run}/publish/published.json",
    log:
        f"results/{experiment.run}/logs/publish.log",
    benchmark:
        f"results/{experiment.run}/benchmarks/publish.tsv"
    localrule: True
    conda:
        "../envs/maskedsae.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="24h",
    params:
        settings=params(lambda model: settings_of.upload_settings(experiment)),
    script:
        "../scripts/publish.py"
