# train_*: one rule for each l0 set, whose outputs are exactly that set's SAEs. (With a wildcard rule the outputs could
# not differ from set to set, and a rule whose outputs grow deletes and remakes the finished ones.)

for cells in TABLE_SETS + OTHER_SETS:

    rule:
        name:
            f"train_{cells.name}"
        input:
            model=f"results/{cells.run}/{cells.model}/model.json",
            tokens=f"results/{cells.run}/{cells.model}/tokens/manifest.json",
        output:
            cells.files(),
        log:
            f"results/{cells.run}/logs/train/{cells.name}.log",
        benchmark:
            f"results/{cells.run}/benchmarks/train/{cells.name}.tsv"
        conda:
            "../envs/maskedsae.yaml"
        threads: config["compute"]["threads"]
        resources:
            mem_mb=needs.megabytes(config, needs.training_gigabytes(config, cells)),
            runtime=needs.minutes(config, needs.training_hours(config, cells)),
            gpu=needs.gpus(config),
        params:
            *cells_of.spelled_out(cells_of.train_settings(config, cells)),
        script:
            "../scripts/train.py"
