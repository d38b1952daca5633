# train_*: one rule for each training job, whose outputs are exactly its SAEs. (A wildcard rule has the same outputs for
# all jobs; and when a rule's outputs grow, Snakemake deletes the finished ones and makes them again.)

for job in TABLE_JOBS + OTHER_JOBS:
    if job in PLANTED_JOBS:  # in planted.smk
        continue

    rule:
        name:
            f"train_{job.name}"
        input:
            model=f"results/{job.run}/{job.model}/model.json",
            tokens=f"results/{job.run}/{job.model}/tokens/manifest.json",
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
            "../scripts/train.py"
