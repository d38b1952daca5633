"""What Slurm says of its partitions, and the lines about what they do not allow. tests/slurm asks a real Slurm."""

from dataclasses import replace
from math import inf

import pytest

from conftest import COMPUTE
from maskedsae.experiment import cluster
from maskedsae.experiment.cluster import Partition, beyond_the_cluster, hours_of, read_partitions

ANSWER = """\
cpu*|12:00:00|64000
gpu|1-00:00:00|128000
gpu|1-00:00:00|257500
long|infinite|250+
not a line of sinfo
"""


@pytest.mark.parametrize(
    ("limit", "hours"),
    [
        *[("24:00:00", 24), ("1-00:00:00", 24), ("7-12:30:00", 180.5), ("30:00", 0.5), ("1:30:36", 1.51)],
        *[("infinite", inf), ("UNLIMITED", inf), ("n/a", inf), ("", inf)],
    ],
)
def test_time_limits_are_read_as_slurm_writes_them(limit, hours):
    assert hours_of(limit) == hours


def test_of_a_partitions_nodes_the_largest_counts():
    assert read_partitions(ANSWER) == [
        Partition("cpu", True, 12, 64),
        Partition("gpu", False, 24, 257.5),
        Partition("long", False, inf, inf),  # 250+: some have more, who knows how much
    ]


@pytest.fixture
def lines(monkeypatch):
    """The keys and partitions of the lines, with ANSWER's partitions."""
    monkeypatch.setattr(cluster, "partitions_of_slurm", lambda: read_partitions(ANSWER))

    def warned(hours, gigabytes, chosen, partitions_file=None):
        compute = replace(COMPUTE, job_hours=hours, job_gigabytes=gigabytes)
        return beyond_the_cluster(compute, chosen, partitions_file)

    return warned


def test_what_is_too_much_is_said_with_both_numbers_and_what_to_do(lines):
    end = "a job that asks for more is refused or waits for ever: set it to"
    assert lines(48, 300, ["gpu", "gpu"]) == [
        f"compute.job_hours: 48 is more than Slurm's partition gpu allows, 24 hours; {end} 24",
        f"compute.job_gigabytes: 300 is more than a node of Slurm's partition gpu has, 257.5 GB; {end} 257",
    ]
    assert lines(24, 257.5, ["gpu"]) == []


def test_a_job_without_a_partition_goes_to_the_default(lines):
    assert [line.split(",")[0] for line in lines(24, 32, [None])] == [
        "compute.job_hours: 24 is more than Slurm's partition cpu allows"
    ]
    assert lines(12, 64, [None]) == []


def test_of_several_possible_partitions_the_most_generous_counts(lines, tmp_path):
    file = tmp_path / "partitions.yaml"
    file.write_text("partitions:\n  cpu: {max_runtime: 720}\n  gpu: {max_runtime: 1440}\n")
    assert lines(24, 128, ["cpu,gpu"]) == []
    assert lines(24, 128, [None], str(file)) == []
    assert "partition cpu, gpu allows, 24 hours" in lines(48, 128, [None], str(file))[0]
    assert lines(1000, 1000, ["gpu,long"]) == []


def test_without_an_answer_nothing_is_said(lines, tmp_path, monkeypatch):
    assert lines(1000, 1000, ["no_such_partition"]) == []
    assert lines(1000, 1000, [None], str(tmp_path / "missing.yaml")) == []
    assert lines(1000, 1000, []) == []
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert beyond_the_cluster(replace(COMPUTE, job_hours=1000), [None], None) == []
