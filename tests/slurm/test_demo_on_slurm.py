"""The demo's whole workflow on a real Slurm, as docs/slurm.md says, and what Slurm has on record of its jobs.

Cut to one model and two SAEs: what is computed, the demo itself shows (tests/demo). They are trained on the CPU, but
each job that would take a GPU on a cluster holds one of the two stand-ins.
"""

import shutil

import pytest
import yaml

from checkout import Checkout, copy_workflow, demo_config
from cluster import most_gpus_at_once, wait_for
from demo.test_scores import CELL, scores
from maskedsae.jobs.files import read_json

CUT = {
    "models": demo_config()["models"][:1],
    "l0": [8],
    "l0_sets": [[8]],
    "tables": [{"name": "table1", "model": "pythia-demo", "streams": ["clean", "mask30"]}],
    "analysis": {"arms": []},
    "training": {"tokens": 153_600},
    "world": {"language_models": demo_config()["world"]["language_models"][:1]},
}
DEMO = ["--profile", "slurm", "--configfile", "profiles/demo/demo.yaml", "cut.yaml"]
OFTEN = ("--slurm-init-seconds-before-status-checks", "1")  # looks after its jobs oftener than a cluster would like


def rules_on_gpus(checkout: Checkout) -> list[str]:
    """Of a dry run of the same configuration for a machine that has GPUs."""
    asked = checkout.asked("all", "--config", "compute={device: cuda}")
    return sorted({rule for rule, needs in asked if needs.get("gpu") == "1"})


@pytest.fixture(scope="module")
def demo(tmp_path_factory, cluster) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("demo"), None)
    copy_workflow(checkout.folder)
    (checkout.folder / "cut.yaml").write_text(yaml.safe_dump(CUT))
    checkout.profile = DEMO
    checkout.on_gpus = rules_on_gpus(checkout)
    gpus = [f"{rule}:gpu=1" for rule in checkout.on_gpus]
    output = checkout.snakemake("all", *OFTEN, "--set-resources", *gpus)
    assert checkout.status == 0, output
    # Asked afterwards: SAEBench's jobs need to know the model's width, which is a guess until the model is there.
    asked = checkout.asked("all", "--forceall")
    checkout.needs = {rule: (needs.get("mem_mb"), needs.get("runtime")) for rule, needs in asked}
    return checkout


@pytest.fixture(scope="module")
def jobs(demo, cluster):
    return [job for job in cluster.jobs() if job.asked["WorkDir"] == str(demo.folder)]


def test_it_completes_and_nothing_is_left_to_do(demo, jobs):
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert "Nothing to be done" in demo.snakemake("--dry-run", "all")


def test_gpu_jobs_hold_a_gpu_and_no_other_job_does(demo, jobs):
    assert len([rule for rule in demo.on_gpus if rule.startswith("train_")]) == 2
    assert sorted({job.rule for job in jobs if job.gpus}) == demo.on_gpus
    assert {job.gpus for job in jobs if job.rule in demo.on_gpus} == {1}


def test_no_more_than_two_gpus_are_held_at_once(jobs):
    assert most_gpus_at_once(jobs) == 2


def test_each_job_asked_for_the_memory_and_time_of_its_rule(demo, jobs):
    for job in jobs:
        memory, minutes = demo.needs[job.rule]
        assert job.asked["MinMemoryNode"] == f"{memory}M", job
        hours, rest = divmod(int(minutes), 60)
        assert job.asked["TimeLimit"] == f"{hours:02}:{rest:02}:00", job
        assert job.asked["Restarts"] == "0"


def test_slurms_logs_are_in_the_results(demo, jobs):
    logs = {path.stem for path in demo.folder.glob("results/slurm_logs/**/*.log")}
    assert logs == {str(job.id) for job in jobs}
    assert not list(demo.folder.glob("slurm-*.out"))


def test_a_scoring_job_that_is_cancelled_keeps_what_it_finished_and_ends_in_the_same_scores(demo, jobs, cluster):
    cell = demo.folder / CELL.format("pythia-demo")
    before = scores(cell)
    (cell / "scores/scr.json").unlink()
    shutil.rmtree(cell / "saebench")
    driver = demo.start("scores", *OFTEN)
    wait_for((cell / "saebench/absorption/record.json").exists, 240, "the first eval")
    record = read_json(cell / "saebench/absorption/record.json")
    (running,) = (job for job in cluster.active() if job.rule == "saebench")
    cluster.ask("scancel", str(running.id))
    assert driver.wait(240) == 0
    new = [job for job in cluster.jobs() if job.asked["WorkDir"] == str(demo.folder) and job not in jobs]
    assert [(job.rule, job.state) for job in new] == [("saebench", "CANCELLED"), ("saebench", "COMPLETED")]
    assert scores(cell) == before
    assert read_json(cell / "scores/provenance.json")["evals"]["absorption"] == record
