"""The rules of the figures and the page, as Snakemake plans them for unusual configurations and places."""

import re
import subprocess
import sys

import pytest

from checkout import Checkout, copy_workflow


def planned(checkout: Checkout, target: str) -> str:
    output = checkout.snakemake("--dry-run", target)
    assert checkout.status == 0, output
    return output


@pytest.mark.parametrize("target", ["saes", "all"])
def test_a_mask_may_have_braces(tmp_path, target):
    copy_workflow(tmp_path)
    assert "train_" in planned(Checkout(tmp_path, {"mask": "{x}"}), target)


def test_without_tables_there_is_no_figure_and_no_page_and_the_rest_is_made(tmp_path):
    copy_workflow(tmp_path)
    checkout, drawn = Checkout(tmp_path, {"tables": []}), r"rule (figure_\w+|report):"
    assert len(re.findall(drawn, planned(Checkout(tmp_path, {}), "all"))) == 9 + 1  # with the paper's tables
    assert not re.search(drawn, planned(checkout, "all"))
    assert "train_" in planned(checkout, "grid")
    planned(checkout, "figures")


def test_results_may_lie_elsewhere_than_the_workflow(tmp_path):
    workflow, elsewhere = tmp_path / "workflow", tmp_path / "elsewhere"
    workflow.mkdir()
    elsewhere.mkdir()
    copy_workflow(workflow)
    files = [str(workflow / name) for name in ("config.yaml", "profiles/demo/demo.yaml")]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")]
    command += ["--directory", str(elsewhere), "--cores", "1", "--rerun-triggers", "mtime", "--dry-run", "all"]
    command += ["--configfile", *files]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{workflow}/report/figure1.rst" in done.stdout + done.stderr
