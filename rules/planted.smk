# truth_*:   facts of a planted truth, which stands in the place of a language model.
# train_*:   SAEs on it, as in train.smk; there is no text.
# planted_*: the scores of one training job's SAEs against the truth: one job for all, since the imports take longer.

for name in dict.fromkeys(job.model for job in PLANTED_JOBS):

    rule:
        name:
            f"truth_{name}"
        output:
            f"results/{experiment.run}/{name}/model.json",
        log:
            f"results/{experiment.run}/logs/truth/{name}.log",
        benchmark:
            f"results/{experiment.run}/benchmarks/truth/{name}.tsv"
        conda:
            "../envs/maskedsae.yaml"
        threads: 1
        resources:
            mem_mb=needs.megabytes(experiment, 2),
            runtime=needs.minutes(experiment, 0.1),
        params:
            settings=params(lambda model, name=name: settings_of.truth_settings(experiment, name)),
        script:
            "../scripts/truth.py"


for job in PLANTED_JOBS:

    rule:
        name:
            f"train_{job.name}"
        input:
            model=f"results/{job.run}/{job.model}/model.json",
        output:
            job.files(),
        log:
            f"results/{job.run}/logs/train/{job.name}.log",
        benchmark:
            f"results/{job.run}/benchmarks/train/{job.name}.tsv"
        conda:
            "../envs/maskedsae.yaml"
        threads: experiment.compute.threads
        resources:
            mem_mb=needs.megabytes(experiment, needs.training_gigabytes(experiment, job)),
            runtime=needs.minutes(experiment, needs.training_hours(experiment, job)),
            gpu=needs.gpus(experiment),
        params:
            settings=params(lambda model, job=job: settings_of.train_settings(experiment, job)),
        script:
            "../scripts/train_planted.py"

    rule:
        name:
            f"planted_{job.name}"
        input:
            model=f"results/{job.run}/{job.model}/model.json",
            config=grid.in_each(job.cells, "sae/cfg.json"),
            weights=grid.in_each(job.cells, "sae/sae_weights.safetensors"),
        output:
            grid.in_each(job.cells, "scores/planted.json"),
        log:
            f"results/{job.run}/logs/planted/{job.name}.log",
        benchmark:
            f"results/{job.run}/benchmarks/planted/{job.name}.tsv"
        conda:
            "../envs/maskedsae.yaml"
        threads: experiment.compute.probe_threads
        resources:
            mem_mb=needs.megabytes(experiment, 2),
            runtime=needs.minutes(experiment, needs.PLANTED_HOURS),
        params:
            settings=params(lambda model, job=job: settings_of.planted_scoring(experiment, job)),
        script:
            "../scripts/planted.py"
