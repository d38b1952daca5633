"""Several GPUs in one machine, with the profile for one machine: each job that asks for a GPU has one of its own."""

import os
import re

import pytest

from checkout import TINY, Checkout, copy_data, copy_workflow
from conftest import remove_locks, stand_in_gpus


@pytest.fixture
def checkout(tmp_path, model_folders, monkeypatch) -> Checkout:
    """Four training jobs, of one SAE each."""
    copy_workflow(tmp_path)
    copy_data(tmp_path, model_folders)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return Checkout(tmp_path, TINY | {"l0_sets": []})


def test_jobs_that_run_at_once_have_a_gpu_each(checkout):
    """They ask for GPUs and train on the CPU."""
    machine = stand_in_gpus(checkout.folder, 4)
    rules = [job.replace("/", "_") for job in checkout.planned() if job.startswith("train/")]
    asked = [f"{rule}:gpu=1" for rule in rules]
    try:
        four = ("--cores", "4", "--resources", "gpu=4", "--set-resources", *asked)
        output = checkout.snakemake("grid", "--until", *rules, *four)
        assert checkout.status == 0, output
    finally:
        remove_locks(machine)
    logs = [path.read_text() for path in checkout.folder.glob("results/tiny/logs/train/*.log")]
    held = [re.findall(r"this job's GPU: \d \((.*)\)", log) for log in logs]
    assert sorted(held) == sorted([name] for name in machine)
    others = checkout.folder.glob("results/tiny/logs/[!t]*/*.log")
    assert not any("GPU" in path.read_text() for path in others)
