"""The Slurm profile beyond the demo: its site block filled in, CPUs, groups, and what needs the network."""

import pytest
import yaml

from checkout import TINY, Checkout, copy_data, copy_workflow
from cluster import Cluster, Job
from conftest import MATRYOSHKA

OFTEN = ("--slurm-init-seconds-before-status-checks", "1")  # looks after its jobs oftener than a cluster would like
SITE = {
    "slurm-partition-config": "profiles/slurm/partitions.yaml",
    "default-resources": {"slurm_extra": "'--nice=100'"},
}
# As docs/slurm.md has it, with this cluster's names.
PARTITIONS = {
    "main": {"max_runtime": 1440, "max_mem_mb": 64000, "max_threads": 16, "max_gpu": 0},
    "urgent": {"max_runtime": 1440, "max_mem_mb": 128000, "max_threads": 32, "max_gpu": 4},
}


@pytest.fixture
def checkout(tmp_path, model_folders, cluster) -> Checkout:
    copy_workflow(tmp_path)
    copy_data(tmp_path, model_folders)
    checkout = Checkout(tmp_path, TINY | {"trainers": [MATRYOSHKA]})
    checkout.profile = ["--profile", "slurm"]
    return checkout


def jobs_of(checkout: Checkout, cluster: Cluster) -> list[Job]:
    return [job for job in cluster.jobs() if job.asked["WorkDir"] == str(checkout.folder)]


def test_a_filled_in_site_block_and_threads_reach_slurm(checkout, cluster):
    profile = checkout.folder / "profiles/slurm/profile.yaml"
    profile.write_text(profile.read_text() + yaml.safe_dump(SITE))
    (checkout.folder / "profiles/slurm/partitions.yaml").write_text(yaml.safe_dump({"partitions": PARTITIONS}))
    checkout.config["compute"]["threads"] = 4
    rule = f"train_neox_clean_{MATRYOSHKA}_l0_4-8_seed_0"
    output = checkout.snakemake("grid", *OFTEN, "--until", rule, "--set-resources", f"{rule}:gpu=1")
    assert checkout.status == 0, output
    found = {job.rule: job for job in jobs_of(checkout, cluster)}
    assert {name: job.asked["Partition"] for name, job in found.items()} == {
        "model": "main",
        "tokens": "main",
        rule: "urgent",
    }
    assert {name: job.asked["NumCPUs"] for name, job in found.items()} == {"model": "1", "tokens": "1", rule: "4"}
    assert {job.asked["Nice"] for job in found.values()} == {"100"}


def test_short_steps_can_share_a_job(checkout, cluster):
    """And what needs the network runs beside Snakemake, if told so."""
    checkout.config["compute"]["fetch_here"] = True
    groups = ("--groups", "ood=probing", "--group-components", "probing=10")
    output = checkout.snakemake("grid", *OFTEN, "--until", "ood", *groups)  # which reads the oracle's rows
    assert checkout.status == 0, output
    train = f"rule_train_neox_clean_{MATRYOSHKA}_l0_4-8_seed_0"
    logs = {path.name for path in checkout.folder.glob("results/slurm_logs/*")}
    assert logs == {"group_probing_ood", "rule_ood_activations", "rule_oracle", train}
    assert len(jobs_of(checkout, cluster)) == 4
    assert checkout.planned("grid") == {}


def test_more_than_the_cluster_allows_is_said_at_start_and_in_the_plan(checkout, cluster):
    """The partitions here allow 24 hours, and the node has 500 GB. Slurm itself would let such a job wait."""
    line = (
        "compute.job_hours: 48 is more than Slurm's partition {} allows, 24 hours; a job that asks for more is refused"
    )
    assert "compute.job_" not in checkout.snakemake("--dry-run", "grid", "plan")
    checkout.config["compute"] |= {"job_hours": 48, "job_gigabytes": 501}
    plan = checkout.snakemake("--dry-run", "grid", "plan")
    assert line.format("main") in plan
    assert "compute.job_gigabytes: 501 is more than a node of Slurm's partition main has, 500 GB; a job" in plan
    assert line.format("urgent") in checkout.snakemake(
        "--dry-run", "grid", "plan", "--default-resources", "slurm_partition=urgent"
    )
    output = checkout.snakemake("grid", *OFTEN, "--until", "model")
    assert checkout.status == 0, output
    assert output.count(line.format("main")) == 1
    (checkout.folder / "profiles/slurm/partitions.yaml").write_text(yaml.safe_dump({"partitions": PARTITIONS}))
    file = ("--slurm-partition-config", "profiles/slurm/partitions.yaml")
    assert line.format("main, urgent") in checkout.snakemake("--dry-run", "grid", "plan", *file)
