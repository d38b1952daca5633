"""Jobs that hold GPUs of their own, as processes on a machine with stand-in GPUs: an nvidia-smi that lists some."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import remove_locks, stand_in_gpus
from maskedsae.jobs import gpus

SCRIPTS = Path(__file__).parents[2] / "scripts"
# A job that says what CUDA may see, and ends when it is told to. `before` and `within` are lines of a test's own.
JOB = """
import os, signal, sys, time
from types import SimpleNamespace
from maskedsae.jobs.entry import job
{before}
with job(SimpleNamespace(log=[{log!r}], resources={{"gpu": {gpu}}})):
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    {within}
    sys.stdin.read()
"""
# Not from the start: pytest's folders, and so the job's log, are closed to others.
AS_ANOTHER_USER = """
from maskedsae.jobs import entry, gpus
def hold_gpus(count):
    os.setuid(65534)
    gpus.hold_gpus(count)
entry.hold_gpus = hold_gpus
"""


class Machine:
    """So many GPUs, and the jobs on them. The UUIDs are new each time, so the locks in /tmp are this test's own."""

    def __init__(self, folder: Path):
        self.folder, self.jobs = folder, []

    def with_gpus(self, count: int) -> "Machine":
        self.uuids = stand_in_gpus(self.folder, count)
        return self

    def start(self, gpu: int = 1, before: str = "", within: str = "", **environment: str) -> "Running":
        own = {name: value for name, value in os.environ.items() if name not in (gpus.VISIBLE, "SLURM_JOB_ID")}
        own |= {"PYTHONPATH": str(SCRIPTS), "PATH": f"{self.folder}:{os.environ['PATH']}"}
        log = self.folder / f"{len(self.jobs)}.log"
        code = JOB.format(log=str(log), gpu=gpu, before=before, within=within)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=own | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.jobs.append(Running(process, log))
        return self.jobs[-1]


class Running:
    def __init__(self, process: subprocess.Popen, log: Path):
        self.process, self.log = process, log

    def sees(self) -> list[str]:
        """What CUDA_VISIBLE_DEVICES names, as soon as the job has what it waits for."""
        assert select.select([self.process.stdout], [], [], 30)[0], self.said()
        return self.process.stdout.readline().strip().split(",")

    def waits(self) -> str:
        """What the job says while it waits; it goes on waiting for a while."""
        deadline = time.monotonic() + 30
        while "waiting for a GPU" not in self.said() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2)
        assert self.process.poll() is None
        assert "this job's GPU" not in self.said()
        return self.said()

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def end(self) -> int:
        self.process.stdin.close()
        return self.process.wait(30)


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    yield machine.with_gpus
    for job in machine.jobs:
        job.process.kill()
        job.process.wait()
    remove_locks(machine.uuids)


MachineWith = Callable[[int], Machine]


def test_four_jobs_at_once_have_a_gpu_each(machine: MachineWith):
    box = machine(4)
    jobs = [box.start() for _ in range(4)]
    seen = [job.sees() for job in jobs]
    assert sorted(seen) == sorted([name] for name in box.uuids)
    for job, (name,) in zip(jobs, seen, strict=True):
        assert job.said().endswith(f"this job's GPU: {box.uuids.index(name)} ({name})\n")


def test_a_job_too_many_waits_and_takes_the_gpu_of_one_that_was_killed(machine: MachineWith):
    box = machine(2)
    first, second = box.start(), box.start()
    (lost,), _ = first.sees(), second.sees()
    third = box.start()
    said = third.waits()
    assert f"{box.uuids.index(lost)} ({lost}) is held by process {first.process.pid}" in said
    assert f"is held by process {second.process.pid}" in said
    assert len(said.splitlines()) == 1
    first.process.kill()
    assert third.sees() == [lost]


def test_what_a_killed_job_has_forked_keeps_the_gpu_while_it_lives(machine: MachineWith):
    """SAEBench's evals may be forks, and such a one may still compute there."""
    box = machine(1)
    fork = "child = os.fork() or signal.pause(); print(child, flush=True)"
    first = box.start(within=fork)
    first.sees()
    child = int(first.process.stdout.readline())
    first.process.kill()
    first.process.wait()
    try:
        second = box.start()
        second.waits()
    finally:
        os.kill(child, signal.SIGKILL)
    assert second.sees() == box.uuids


def test_what_the_user_set_is_respected(machine: MachineWith):
    box = machine(4)
    jobs = [box.start(CUDA_VISIBLE_DEVICES="2,3") for _ in range(2)]
    assert sorted(job.sees() for job in jobs) == [["2"], ["3"]]
    box.start(CUDA_VISIBLE_DEVICES="2,3").waits()


def test_however_a_gpu_is_named_it_has_one_job(machine: MachineWith):
    box = machine(4)
    box.start(CUDA_VISIBLE_DEVICES="2,3").sees()
    beginning = box.uuids[3][:12]
    assert box.start(CUDA_VISIBLE_DEVICES=beginning).sees() == [beginning]
    rest = [box.start() for _ in range(2)]
    assert sorted(job.sees() for job in rest) == sorted([name] for name in box.uuids[:2])
    box.start().waits()


@pytest.mark.parametrize("hidden", ["", "-1", "-1,0"])
def test_where_the_user_hides_all_gpus_none_is_taken(hidden, machine: MachineWith):
    job = machine(2).start(CUDA_VISIBLE_DEVICES=hidden)
    assert job.sees() == hidden.split(",")
    assert "this job holds no GPU: CUDA_VISIBLE_DEVICES names none" in job.said()


def test_without_a_gpu_the_device_check_speaks(machine: MachineWith):
    job = machine(0).start(within="from maskedsae.jobs.device import check_device; check_device('cuda')")
    assert job.sees() == ["None"]
    assert job.end() == 1
    assert "this job holds no GPU: nvidia-smi names none" in job.said()
    assert "error: compute.device: cuda asks for a GPU, but" in job.said()


def test_a_job_that_asks_for_no_gpu_waits_for_none(machine: MachineWith):
    box = machine(1)
    box.start().sees()
    assert box.start(gpu=0).sees() == ["None"]


def test_a_job_may_hold_several(machine: MachineWith):
    box = machine(4)
    jobs = [box.start(gpu=2) for _ in range(2)]
    seen = [job.sees() for job in jobs]
    assert [len(names) for names in seen] == [2, 2]
    assert sorted([*seen[0], *seen[1]]) == sorted(box.uuids)


def test_more_than_there_are_is_an_error(machine: MachineWith):
    job = machine(2).start(gpu=3)
    assert job.end() == 1
    assert "error: resources: this job asks for gpu: 3, and 2 can be used here: ask for fewer" in job.said()


@pytest.mark.parametrize("given", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_under_slurm_a_job_has_what_slurm_gave_it(given, machine: MachineWith):
    box = machine(1)
    box.start().sees()
    job = box.start(SLURM_JOB_ID="7", **given)
    assert job.sees() == [given.get("CUDA_VISIBLE_DEVICES", "None")]
    assert job.said() == ""


def test_jobs_that_share_what_slurm_gave_have_a_gpu_each(machine: MachineWith):
    """As in a group, or where Snakemake itself runs in an allocation of a whole machine."""
    box = machine(4)
    jobs = [box.start(SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="1,2") for _ in range(2)]
    assert sorted(job.sees() for job in jobs) == [["1"], ["2"]]


def test_another_user_of_the_machine_takes_part(machine: MachineWith):
    """Whatever the first one's umask. (Only root can try what another user may do.)"""
    box = machine(1)
    first = box.start(before="os.umask(0o077)", CUDA_VISIBLE_DEVICES=box.uuids[0])
    first.sees()
    second = box.start(before=AS_ANOTHER_USER if os.geteuid() == 0 else "", CUDA_VISIBLE_DEVICES=box.uuids[0])
    assert f"{box.uuids[0]} is held by process {first.process.pid}" in second.waits()
    first.end()
    assert second.sees() == box.uuids


def test_a_lock_is_made_young_again_since_tmp_is_cleaned_of_old_files(machine: MachineWith):
    box = machine(1)
    lock = gpus.LOCKS / f"maskedsae-{box.uuids[0]}.lock"
    lock.touch()
    os.utime(lock, (0, 0))
    box.start().sees()
    assert lock.stat().st_mtime > time.time() - 60
