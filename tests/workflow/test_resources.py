"""What the paper's jobs ask a cluster for, read off Snakemake's dry runs under the Slurm profile."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from checkout import ROOT, TINY, Checkout, configuration_of, copy_data, copy_workflow
from maskedsae.experiment import resources
from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.grid import TrainingJob, training_jobs
from maskedsae.experiment.plan import Planned, plan

PROFILE = ["--profile", "slurm"]


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """The paper's."""
    copy_workflow(tmp_path)
    checkout = Checkout(tmp_path, None)
    checkout.profile = PROFILE
    return checkout


def test_what_each_of_the_papers_jobs_asks_for(checkout):
    kinds = Counter()
    for rule, needs in checkout.asked("scores"):
        stream = re.match(r"train_([a-z0-9-]+)_(\w+)_matryoshka_batch_topk_l0_([\d-]+)_seed_0", rule)
        kind = "train " + " ".join(stream.groups()) if stream else rule
        kinds[kind, needs.get("gpu", "0"), needs.get("threads"), needs.get("runtime"), needs.get("mem_mb")] += 1
    del kinds[("scores", "0", "1", None, None)]
    pythia, gemma, four = "train pythia-160m-deduped", "train gemma-2-2b", "20-40-80-160"
    assert kinds == {
        ("model", "0", "1", "120", "4000"): 2,
        ("tokens", "0", "2", "240", "4000"): 2,
        (f"{pythia} clean {four}", "1", "4", "543", "10380"): 1,
        (f"{pythia} mask30 {four}", "1", "4", "543", "10380"): 1,
        (f"{pythia} mask20 20", "1", "4", "299", "7681"): 1,
        (f"{pythia} mask50 20", "1", "4", "299", "7681"): 1,
        (f"{gemma} clean {four}", "1", "4", "593", "21600"): 1,
        (f"{gemma} mask30 {four}", "1", "4", "593", "21600"): 1,
        ("saebench_data", "0", "1", "240", "8000"): 1,
        ("saebench_model", "1", "4", "59", "33421"): 1,  # of Pythia
        ("saebench_model", "1", "4", "72", "68408"): 1,  # of Gemma
        ("saebench", "1", "4", "36", "33421"): 10,
        ("saebench", "1", "4", "45", "68408"): 8,
        ("ood_activations", "1", "4", "30", "16000"): 2,
        ("oracle", "0", "4", "60", "8000"): 2,
        ("ood", "0", "4", "30", "8000"): 18,
        ("robustness_activations", "1", "4", "30", "16000"): 2,
        ("robustness", "0", "1", "30", "8488"): 10,
        ("robustness", "0", "1", "30", "11020"): 8,
    }


def test_the_plan_counts_jobs_gpu_hours_and_disk(checkout):
    output = checkout.snakemake("--dry-run", "saes", "plan")
    assert checkout.status == 0, output
    assert table_of(output) == [
        "    jobs    GPU hours    asked for",
        "       2            -            -  model",
        "       2            -            -  tokens",
        "       6         23.9         47.8  train",
        # (4 x 1.81 of Pythia and 2 x 2.22 of Gemma) hours, and 18 x 0.68
        "                 11.7                 the language model's passes, which a job's SAEs share",
        "                 12.2                 the steps of 18 SAEs",
        "      10         23.9         47.8  in all; on disk about 6.8 GB",
    ]


def table_of(output: str) -> list[str]:
    lines = [line.rstrip() for line in output.splitlines()]
    start = next(number for number, line in enumerate(lines) if line.endswith("the plan"))
    return lines[start + 1 : lines.index(next(line for line in lines if line.startswith("GPU hours are estimates")))]


def trainings(expected: float | None, forward: float | None, **changes) -> list[str]:
    """The table of a thousand jobs of ten SAEs."""
    job = Planned("train", **{"gpus": 1, "expected": expected, "asked": 20, "saes": 10, "forward": forward} | changes)
    return table_of(plan([job] * 1000, 3_000_000.0))


def test_the_hours_that_saes_share_are_told_from_their_own():
    assert [line.split(maxsplit=1)[0] for line in trainings(10.0, 1.8)[1:4]] == ["1000", "1800.0", "8200.0"]
    assert trainings(10.0, 1.8)[3].endswith("  the steps of 10000 SAEs")
    assert max(map(len, trainings(10_000.0, 1800.0))) <= 100


def test_without_a_gpu_or_a_known_cost_training_is_one_line():
    for table in (trainings(None, None), trainings(None, None, gpus=0), trainings(None, 1.8, gpus=0)):
        assert [line.split()[-1] for line in table[1:]] == ["train", "GB"]
    known, unknown = (Planned("train", 1, hours, 20, 10, hours) for hours in (1.8, None))
    assert [line.split()[1] for line in table_of(plan([known, unknown], None))[1:]] == ["unknown", "unknown"]


def test_the_plan_alone_makes_nothing(checkout):
    checkout.profile = ["--profile", "profiles/local"]
    output = checkout.snakemake("plan")
    assert checkout.status == 0, output
    assert "nothing is to be done for the targets beside plan" in output
    assert not (checkout.folder / "results").exists()


def test_without_a_gpu_none_is_asked_for(tmp_path, model_folders):
    copy_workflow(tmp_path)
    copy_data(tmp_path, model_folders)
    checkout = Checkout(tmp_path, TINY)
    checkout.profile = PROFILE
    assert {needs.get("gpu", "0") for _, needs in checkout.asked("grid")} == {"0"}


def paper(**changes) -> Configuration:
    return configuration_of(changes)


def pythia(config: Configuration, l0s: int = 4) -> TrainingJob:
    return next(job for job in training_jobs(config, needed=True) if len(job.cells) == l0s)


def test_time_grows_with_attempts_up_to_the_partitions_limit():
    config = paper(compute={"job_hours": 24})
    minutes = resources.minutes(config, resources.training_hours(config, pythia(config)))
    assert [minutes(None, attempt) for attempt in (1, 2, 3, 4)] == [543, 1085, 1440, 1440]


def test_memory_grows_with_attempts_up_to_a_nodes():
    memory = resources.saebench_memory(paper(compute={"job_gigabytes": 128}), "gemma-2-2b")
    assert [memory.at(attempt) for attempt in (1, 2, 3)] == [68408, 128000, 128000]


def test_time_scales_with_the_configuration():
    config = paper()
    hours = resources.training_hours(config, pythia(config))
    assert hours == pytest.approx(1.81 + 4 * 0.678, rel=0.01)
    assert resources.training_hours(paper(training={"tokens": 250_000_000}), pythia(config)) == pytest.approx(hours / 2)
    assert resources.training_hours(config, pythia(config, 1)) == pytest.approx(1.81 + 0.678, rel=0.01)
    faster = paper(compute={"tflops": {"float32": 20, "bfloat16": 250}, "step_ms": {"stock": 5}})
    assert resources.training_hours(faster, pythia(config)) == pytest.approx(hours / 2)


def test_the_saes_of_a_job_share_the_forward_pass_and_nothing_else():
    config = paper()
    one, four = pythia(config, 1), pythia(config, 4)
    assert (
        resources.forward_hours(config, four) == resources.forward_hours(config, one) == pytest.approx(1.806, rel=1e-3)
    )
    assert resources.step_hours(config, four) == pytest.approx(4 * resources.step_hours(config, one))
    assert resources.step_hours(config, one) == pytest.approx(244_140 * 0.010 / 3600)
    fast = replace(config, training=replace(config.training, step="fast"))
    assert resources.step_hours(fast, one) == pytest.approx(244_140 * 0.005 / 3600)


def test_each_eval_of_saebench_has_its_own_time_and_disk():
    """On the card of SAEBench's own numbers absorption takes 33 and 26 minutes, all five 75 and 46."""
    every = paper()
    one = replace(every, saebench=replace(every.saebench, evals=("absorption",)))
    for shared, share in ((True, 33 / 75), (False, 26 / 46)):
        hours = [resources.saebench_hours(config, "gemma-2-2b", shared) for config in (one, every)]
        assert hours[0] / hours[1] == pytest.approx(share)
    gigabytes = [resources.disk_gigabytes(config, [], ["gemma-2-2b"]) for config in (one, every)]
    assert gigabytes == [0, pytest.approx(200, rel=0.2)]


def test_tf32_makes_training_faster_and_no_score():
    models = [dict(model) for model in yaml.safe_load((ROOT / "config.yaml").read_text())["models"]]
    models[0]["tf32"] = True
    config, same = paper(models=models), paper()
    assert resources.training_hours(config, pythia(config)) == pytest.approx(1.81 / 6 + 4 * 0.678, rel=0.01)
    for shared in (False, True):
        hours = [resources.saebench_hours(each, "pythia-160m-deduped", shared) for each in (config, same)]
        assert hours[0] == hours[1]


def test_a_stream_that_drops_rows_or_reads_its_text_twice_takes_longer():
    def hours(**stream) -> float:
        entry = {"name": "arm", "corruption": {"kind": "mask", "p": 0.5}, **stream}
        config = paper(streams=[entry], tables=[])
        return resources.training_hours(config, training_jobs(config, needed=False)[0])

    steps = 4 * 244_140 * 0.010 / 3600
    assert hours() == pytest.approx(1.806 + steps, rel=0.001)
    assert hours(context="clean") == pytest.approx(2 * 1.806 + steps, rel=0.001)
    assert hours(rows="untouched") == pytest.approx(2 * 1.806 + steps, rel=0.001)
    assert hours(context="noise") == pytest.approx(2 * 1.806 + steps, rel=0.001)
    assert hours(context="noise", rows="untouched") == pytest.approx(4 * 1.806 + steps, rel=0.001)


def test_a_model_of_unknown_cost_asks_for_all_the_time_there_is():
    models = [model | {"gflop": None} for model in yaml.safe_load((ROOT / "config.yaml").read_text())["models"]]
    config = paper(models=models)
    assert resources.training_hours(config, pythia(config)) is None
    assert resources.minutes(config, None)(None, 1) == 24 * 60
    assert resources.disk_gigabytes(config, [pythia(config)], []) is None


@pytest.mark.parametrize(("model", "width"), [("pythia-160m-deduped", 768), ("gemma-2-2b", 2304)])
def test_before_the_models_files_are_here_its_width_is_estimated(model, width):
    config = paper()
    assert resources.width(config, config.model(model)) == pytest.approx(width, rel=0.1)


def test_the_width_is_read_where_the_models_files_are(model_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = paper(models=[{"name": "neox", "path": str(model_folders["gpt_neox"]), "layer": 1}], tables=[])
    assert resources.width(config, config.models[0]) == 32
    (tmp_path / "results/paper/neox").mkdir(parents=True)
    (tmp_path / "results/paper/neox/model.json").write_text('{"width": 48}')
    assert resources.width(config, config.models[0]) == 48


def test_the_profiles_name_is_found_as_typed():
    """`--profile slurm` looks in the root and not in profiles/; and profiles/default would be loaded unasked."""
    assert (ROOT / "slurm").readlink() == Path("profiles/slurm")
    assert not (ROOT / "profiles/default").exists()
    shared = ("rerun-triggers", "max-checksum-file-size", "rerun-incomplete", "show-failed-logs")
    slurm, local = (yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text()) for name in ("slurm", "local"))
    assert {key: slurm[key] for key in shared} == {key: local[key] for key in shared}
    assert not slurm.keys() & {"slurm-requeue", "slurm-no-requeue"}
    assert "slurm-array-jobs" not in slurm
