"""What a newcomer is led to, on the demo's results: the notebook, the tutorial's overlay, and the pictures."""

import re
import sys

import nbformat
import pytest
import yaml

from checkout import ROOT
from checkout import snakemake_demo as snakemake
from conftest import BROWSER, needs_docs

HOOKS = ROOT / "docs/hooks"


@pytest.fixture
def pictures(monkeypatch):
    monkeypatch.syspath_prepend(str(HOOKS))
    import pictures

    yield pictures
    del sys.modules["pictures"]


@needs_docs
def test_the_notebook_runs_and_says_what_its_text_says(demo, pictures, tmp_path):
    pictures.execute(ROOT / "docs" / pictures.NOTEBOOK, demo, tmp_path / "done.ipynb")
    cells = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    text = "\n".join(output.get("text", "") for output in outputs)
    l0 = {name: float(value) for name, value in re.findall(r"^(\w+) +l0 on clean text +([\d.]+)", text, re.MULTILINE)}
    assert l0.keys() == {"clean", "mask30", "stutter30"}
    assert l0["clean"] == pytest.approx(8, rel=0.15) and l0["stutter30"] == pytest.approx(l0["clean"], rel=0.15)
    assert l0["mask30"] > 1.15 * max(l0["clean"], l0["stutter30"])
    assert float(re.search(r"of which ([\d.]+) are active", text)[1]) == pytest.approx(8, rel=0.12)
    shown = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(shown) == 3 and all("background: rgba" in html for html in shown)


def test_the_tutorials_overlay_trains_one_sae_more(demo):
    """In its dry run; what the demo has trained and scored with SAEBench stays."""
    overlay = ROOT / "profiles/tutorial/deleted.yaml"
    new = {entry["name"] for entry in yaml.safe_load(overlay.read_text())["streams"]}
    new -= {path.name for path in (demo / "results/demo/pythia-demo").iterdir()}
    assert new == {"deleted30"}
    done = snakemake(demo, "--configfile", "profiles/demo/demo.yaml", "profiles/tutorial/deleted.yaml", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    planned = re.findall(r"^rule (\S+):$", done.stdout + done.stderr, re.MULTILINE)
    trained = [rule for rule in planned if rule.startswith("train_")]
    assert trained == ["train_pythia-demo_deleted30_matryoshka_batch_topk_l0_8_seed_0"]
    assert planned.count("saebench") == planned.count("ood") == 1


@needs_docs
@pytest.mark.skipif(BROWSER is None, reason="no browser: install the package chromium")
def test_the_sites_pictures_can_be_made_again(demo, pictures, tmp_path):
    pictures.of_demo(demo / "results/demo", tmp_path)
    others = {"tutorial.svg", "convergence.png"}  # of runs that the tests do not make
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in (ROOT / "docs/pictures").iterdir()
    } - others
