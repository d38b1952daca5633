"""What clusters do to jobs, done to one stream's training on a real Slurm: it ends in the bytes of an undisturbed run.

The runs go side by side, since most of their time they wait for Slurm and for the next look at it.
"""

import os
import signal
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from checkout import Checkout, copy_data, copy_workflow
from cluster import Cluster, Job, wait_for
from interrupted import CONFIG, cell, kill, published, trainer_process, wait_for_checkpoints

RULE = "train_neox_mask30_matryoshka_batch_topk_l0_4-8_seed_0"
PATIENCE = 240  # seconds, for anything


@dataclass
class Run:
    """A checkout whose training is disturbed, and what is seen of it."""

    checkout: Checkout
    cluster: Cluster
    drivers: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen:
        """A driver: the command that a user types, which looks after its jobs oftener than a cluster would like."""
        command = self.checkout.command("saes", "--slurm-init-seconds-before-status-checks", "1", *arguments)
        with open(self.checkout.folder / "driver.txt", "a") as out:
            self.drivers.append(subprocess.Popen(**command, stdout=out))
        return self.drivers[-1]

    def at_work(self, checkpoints: int = 2) -> int:
        """The process that trains, once it has written so many checkpoints."""
        assert wait_for_checkpoints(self.checkout, self.drivers[-1], checkpoints), self.said()
        return trainer_process(self.checkout)

    def finish(self) -> None:
        assert self.drivers[-1].wait(PATIENCE) == 0, self.said()

    def jobs(self, state: str = "") -> list[Job]:
        mine = [job for job in self.cluster.jobs() if job.asked["WorkDir"] == str(self.checkout.folder)]
        return [job for job in mine if state in job.state]

    def said(self) -> str:
        """By the drivers."""
        return (self.checkout.folder / "driver.txt").read_text()

    def log(self) -> str:
        """Of the training jobs."""
        return "".join(path.read_text() for path in self.checkout.folder.glob("results/tiny/logs/train/*.log"))

    def results(self) -> dict[str, bytes]:
        return published(self.checkout)


@pytest.fixture(scope="module")
def start(tmp_path_factory, model_folders, cluster):
    """Makes a checkout with model, corpus and tokens, but no SAE."""
    first = Checkout(tmp_path_factory.mktemp("start"), CONFIG)
    copy_workflow(first.folder)
    copy_data(first.folder, model_folders)
    output = first.snakemake("results/tiny/neox/tokens/manifest.json")
    assert first.status == 0, output

    def run(name: str) -> Run:
        checkout = first.copy_to(tmp_path_factory.mktemp(name) / "checkout")
        checkout.profile = ["--profile", "slurm"]
        return Run(checkout, cluster)

    return run


def undisturbed(run: Run) -> None:
    run.start()
    run.finish()
    assert [job.state for job in run.jobs()] == ["COMPLETED"]


def scancelled(run: Run) -> None:
    run.start()
    run.at_work()
    run.cluster.ask("scancel", str(run.jobs("RUNNING")[0].id))
    run.finish()
    assert [job.state for job in run.jobs()] == ["CANCELLED", "COMPLETED"]
    assert "stopped by SIGTERM" in slurm_logs(run)


def out_of_time(run: Run) -> None:
    """A minute for each attempt; the first sleeps for the most of it, and a busy machine may need a third."""
    run.start("--set-resources", f"{RULE}:runtime=1")
    os.kill(run.at_work(), signal.SIGSTOP)
    run.finish()
    *late, last = [job.state for job in run.jobs()]
    assert (set(late), last) == ({"TIMEOUT"}, "COMPLETED")
    assert "SLURM status is: 'TIMEOUT'" in run.said()


def process_killed(run: Run) -> None:
    run.start()
    kill(run.at_work())
    run.finish()
    assert [job.state for job in run.jobs()] == ["FAILED", "COMPLETED"]


def driver_killed(run: Run) -> None:
    """And started again while its job is still at work: that of the new driver waits."""
    driver = run.start()
    process = run.at_work()
    os.kill(process, signal.SIGSTOP)
    kill(driver.pid)
    driver.wait()
    run.start()
    assert run.drivers[-1].wait(PATIENCE) != 0
    assert "Directory cannot be locked" in run.said()
    assert run.checkout.snakemake("saes", "--unlock") and run.checkout.status == 0
    run.start()
    wait_for(lambda: f"waiting: process {process} on" in run.log(), PATIENCE, "the second job to meet the first")
    assert len(run.jobs("RUNNING")) == 2
    os.kill(process, signal.SIGCONT)
    run.finish()
    wait_for(lambda: not run.jobs("RUNNING"), PATIENCE, "the first job's end")
    assert [job.state for job in run.jobs()] == ["COMPLETED", "COMPLETED"]
    assert "is trained already; its files are written again" in run.log()


def requeued(run: Run) -> None:
    """By Slurm, as after a preemption."""
    run.start()
    run.at_work()
    run.cluster.ask("scontrol", "requeue", str(run.jobs("RUNNING")[0].id))
    run.finish()
    (job,) = run.jobs()
    assert (job.state, job.asked["Restarts"]) == ("COMPLETED", "1")


def first_attempt_fails(run: Run) -> None:
    """The language model's weights are away for a while. The next attempt asks for twice the memory and time."""
    away = run.checkout.folder / "models" / "gpt_neox" / "model.safetensors"
    away.rename(away.with_name("away"))
    run.start()
    wait_for(lambda: run.jobs("FAILED"), PATIENCE, "the first attempt to fail")
    away.with_name("away").rename(away)
    run.finish()
    first, second = run.jobs()
    assert [first.state, second.state] == ["FAILED", "COMPLETED"]
    assert (first.asked["TimeLimit"], second.asked["TimeLimit"]) == ("00:30:00", "01:00:00")
    assert megabytes(second) == 2 * megabytes(first)


def disk_full(run: Run) -> None:
    """The folder of the SAEs is a disk of its own, which something else fills up."""
    disk = cell(run.checkout, 4).parents[2]
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    try:
        run.start("--retries", "0")
        run.at_work()
        with open(disk / "junk", "wb", buffering=0) as junk:
            while junk.write(bytes(4096)) == 4096:
                pass
    except OSError:
        assert run.drivers[-1].wait(PATIENCE) != 0
        assert "no space left on the disk" in run.log()
        assert "no space left on the disk" in run.said()
        (disk / "junk").unlink()
        run.start()
        run.finish()
        saes = run.results()
    finally:
        kept = disk.with_name("kept")
        subprocess.run(["cp", "-a", disk, kept], check=True)
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()
        kept.rename(disk)
    assert saes == run.results()


def megabytes(job: Job) -> int:
    return int(job.asked["MinMemoryNode"].removesuffix("M"))


def slurm_logs(run: Run) -> str:
    return "".join(path.read_text() for path in run.checkout.folder.glob("results/slurm_logs/**/*.log"))


SIDE_BY_SIDE = [
    *(undisturbed, scancelled, out_of_time, process_killed, driver_killed, requeued, first_attempt_fails, disk_full),
]


@pytest.fixture(scope="module")
def runs(start) -> dict[str, Future]:
    def disturb(fault) -> Run:
        run = start(fault.__name__)
        try:
            fault(run)
        finally:
            for driver in run.drivers:
                driver.kill()
        return run

    with ThreadPoolExecutor(len(SIDE_BY_SIDE)) as pool:
        return {fault.__name__: pool.submit(disturb, fault) for fault in SIDE_BY_SIDE}


@pytest.mark.parametrize("fault", [fault.__name__ for fault in SIDE_BY_SIDE])
def test_ends_as_if_undisturbed(runs, fault):
    run = runs[fault].result()
    assert run.results() == runs["undisturbed"].result().results()
    assert run.checkout.planned("saes") == {}
    if fault not in ("undisturbed", "first_attempt_fails", "driver_killed"):
        # The log is of the last attempt, which may find that the one before got to the end of training.
        assert any(line in run.log() for line in ("going on from its checkpoint at step", "is trained already"))


def test_a_drained_node_and_a_killed_slurmd(runs, start, cluster):
    run = start("node")
    cluster.ask("scontrol", "update", f"nodename={cluster.host}", "state=drain", "reason=test")
    run.start()
    (job,) = wait_for(lambda: run.jobs("PENDING"), PATIENCE, "its job to wait")
    cluster.ask("scontrol", "update", f"nodename={cluster.host}", "state=resume")
    process = run.at_work()
    cluster.ask("scontrol", "update", f"nodename={cluster.host}", "state=drain", "reason=test")
    assert cluster.node_state() == "draining"
    cluster.kill("slurmd")
    assert Path(f"/proc/{process}").exists()
    cluster.start_slurmd(states=("draining", "drained"))
    cluster.ask("scontrol", "update", f"nodename={cluster.host}", "state=resume")
    run.finish()
    assert [(each.id, each.state) for each in run.jobs()] == [(job.id, "COMPLETED")]
    assert run.results() == runs["undisturbed"].result().results()
