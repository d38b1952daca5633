"""A cluster with Slurm's accounting database. Before the other tests, since a machine has one Slurm at a time."""

import csv

import pytest

from checkout import TINY, Checkout, copy_data, copy_workflow
from cluster import Cluster
from conftest import MATRYOSHKA, running_cluster

RULE = f"train_neox_clean_{MATRYOSHKA}_l0_4-8_seed_0"


@pytest.fixture
def bookkeeping(tmp_path_factory):
    with running_cluster(tmp_path_factory.mktemp("slurm"), accounting=True) as cluster:
        yield cluster


def test_sacct_serves_for_status_and_the_efficiency_report_is_written(bookkeeping: Cluster, tmp_path, model_folders):
    copy_workflow(tmp_path)
    copy_data(tmp_path, model_folders)
    checkout = Checkout(tmp_path, TINY | {"trainers": [MATRYOSHKA]})
    checkout.profile = ["--profile", "slurm"]
    profile = tmp_path / "profiles/slurm/profile.yaml"
    checkout.edit(str(profile), "slurm-status-command: squeue", "slurm-status-command: sacct")
    often = ("--slurm-init-seconds-before-status-checks", "1")
    output = checkout.snakemake("grid", *often, "--until", RULE)
    assert checkout.status == 0, output
    assert "sacct" in profile.read_text()
    (report,) = tmp_path.glob("results/slurm_logs/efficiency_report_*.csv")
    rows = {row["RuleName"].removeprefix("rule_").split("_wildcards_")[0]: row for row in csv.DictReader(report.open())}
    assert rows.keys() == {"model", "tokens", RULE}
    for row in rows.values():
        assert float(row["RequestedMem_MB"]) >= 1000
        assert 0 < float(row["MaxRSS_MB"]) < float(row["RequestedMem_MB"])
        assert float(row["CPU Efficiency (%)"]) > 0
