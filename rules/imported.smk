# fetch_sae:  an SAE of the hub, with the commit that it was. Needs the network.
# import_sae: an SAE of section `saes` in the files that a cell's SAE has, with its quality on clean text.
# saebench_imported, ood_imported, robustness_imported: its scores, by the jobs that score cells.


rule fetch_sae:
    input:
        # Made again, it changes nothing that is fetched; import_sae sees whether the SAE still fits.
        model=ancient("results/{run}/{model}/model.json"),
    output:
        update(f"{Imported.FOLDER}/source/manifest.json"),  # the job reads the commit in it
    log:
        f"results/{{run}}/logs/fetch_sae/{Imported.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/fetch_sae/{Imported.NAME}.tsv"
    localrule: FETCH_HERE
    conda:
        "../envs/maskedsae.yaml"
    resources:
        mem_mb=needs.megabytes(experiment, 4),
        runtime=needs.minutes(experiment, 0.5),
    params:
        settings=params(lambda sae: settings_of.fetch_settings(experiment, sae), "sae"),
    script:
        "../scripts/fetch_sae.py"


rule import_sae:
    input:
        model="results/{run}/{model}/model.json",
        tokens="results/{run}/{model}/tokens/manifest.json",
        source=lambda wildcards: grid.source_files(experiment, wildcards.sae),
    output:
        [f"{Imported.FOLDER}/sae/{name}" for name in grid.SAE_FILES],
    log:
        f"results/{{run}}/logs/import_sae/{Imported.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/import_sae/{Imported.NAME}.tsv"
    conda:
        "../envs/maskedsae.yaml"
    threads: experiment.compute.threads
    resources:
        mem_mb=lambda wildcards, attempt: needs.import_memory(experiment, wildcards.model, wildcards.sae).at(attempt),
        runtime=lambda wildcards, attempt: needs.import_time(experiment, wildcards.model).at(attempt),
        gpu=needs.gpus(experiment),
    params:
        settings=params(lambda sae: settings_of.import_settings(experiment, sae), "sae"),
    script:
        "../scripts/import_sae.py"


use rule saebench as saebench_imported with:
    input:
        model="results/{run}/{model}/model.json",
        data="results/{run}/saebench/data/manifest.json",
        shared="results/{run}/{model}/saebench/manifest.json",
        sae=f"{Imported.FOLDER}/sae/ae.pt",
        config=f"{Imported.FOLDER}/sae/config.json",
        sums=f"{Imported.FOLDER}/sae/SHA256SUMS",
    output:
        [f"{Imported.FOLDER}/scores/{score}.json" for score in (*grid.saebench_scores(experiment), "provenance")],
    log:
        f"results/{{run}}/logs/saebench/{Imported.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/saebench/{Imported.NAME}.tsv"


use rule ood as ood_imported with:
    input:
        activations="results/{run}/{model}/ood/activations.safetensors",
        config=f"{Imported.FOLDER}/sae/cfg.json",
        weights=f"{Imported.FOLDER}/sae/sae_weights.safetensors",
        oracle="results/{run}/{model}/oracle.json",
    output:
        summary=f"{Imported.FOLDER}/scores/ood.json",
        rows=f"{Imported.FOLDER}/scores/ood_rows.csv",
    log:
        f"results/{{run}}/logs/ood/{Imported.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/ood/{Imported.NAME}.tsv"


use rule robustness as robustness_imported with:
    input:
        activations="results/{run}/{model}/robustness/activations.safetensors",
        config=f"{Imported.FOLDER}/sae/cfg.json",
        weights=f"{Imported.FOLDER}/sae/sae_weights.safetensors",
    output:
        robustness=f"{Imported.FOLDER}/scores/robustness.json",
        parents=f"{Imported.FOLDER}/scores/parents.json",
    log:
        f"results/{{run}}/logs/robustness/{Imported.NAME}.log",
    benchmark:
        f"results/{{run}}/benchmarks/robustness/{Imported.NAME}.tsv"
    resources:
        mem_mb=lambda wildcards, attempt: needs.robustness_memory(experiment, wildcards.model, wildcards.sae).at(
            attempt
        ),
        runtime=needs.minutes(experiment, needs.ROBUSTNESS_HOURS),
    params:
        settings=params(lambda sae: settings_of.robustness_imported(experiment), "sae"),
