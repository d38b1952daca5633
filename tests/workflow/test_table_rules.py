"""Rules scores_table and tables, run by Snakemake on the demo's configuration and made-up score files."""

import json
import random
from pathlib import Path

import pytest

from checkout import Checkout, copy_workflow, demo_config
from maskedsae.experiment.grid import Cell, imported
from maskedsae.scores.table import read_rows
from recomputed import check_tables
from reported import cells_of, checked, shown_of
from scored import probes, write_cell

RULES = ("scores_table", "contrasts", "tables")


def write_scores(folder: Path, config: dict) -> None:
    """For every cell of the tables, seeded numbers of about the size that real ones have."""
    rng, shown = random.Random(0), shown_of(config)
    for cell in [*cells_of(config), *imported(checked(config))]:
        names = ("absorption", "fraction", "split", "best_latent", "saebench", "legacy", "centred")
        names += ("sparse_probing", "tpp", "auc")
        numbers = {name: rng.random() for name in names}
        achieved = 0.99 * cell.l0 / (1 - shown.stream(cell.stream).p) if isinstance(cell, Cell) else 8.0
        write_cell(folder / cell.folder, **numbers, scr=rng.uniform(-0.5, 0.5), l0=achieved)
    for model in config["models"]:
        path = folder / "results" / config["run"] / model["name"] / "oracle.json"
        path.write_text(json.dumps(probes(0.8, ks=(96,))))


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    copy_workflow(tmp_path)
    write_scores(tmp_path, demo_config())
    made = Checkout(tmp_path, None)
    made.profile = ["--profile", "profiles/demo", "--quiet", "host", "--allowed-rules", *RULES]
    return made


def test_every_cell_of_every_table_is_what_its_json_file_says(checkout):
    output = checkout.snakemake("tables")
    assert checkout.status == 0, output
    results = checkout.folder / "results/demo"
    # Tables 1 and 2: 18 lines of two l0s, and 14 more at equal l0. Table 3: 9 and 8 lines of four p.
    assert check_tables(results, demo_config()) == 2 * (36 + 28) + 36 + 32
    assert "Nothing to be done" in checkout.snakemake("tables", "--dry-run", "--quiet", "host")
    assert {row.run for row in read_rows(results / "scores.csv")} == {"demo"}
    assert {verdict["verdict"] for verdict in json.loads((results / "verdicts.json").read_text())["claims"]} == {
        "not tested"
    }


def test_a_broken_score_stops_with_its_path_and_leaves_no_table(checkout):
    (broken,) = checkout.folder.glob("results/demo/gemma-demo/mask30/*/l0_20/seed_0/scores/absorption.json")
    content = json.loads(broken.read_text())
    content["eval_result_metrics"]["mean"]["mean_full_absorption_score"] = float("nan")
    broken.write_text(json.dumps(content))
    output = checkout.snakemake("tables")
    assert checkout.status != 0
    path = broken.relative_to(checkout.folder)
    assert f"error: {path}: absorption.mean_full_absorption_score is nan, not a finite number" in output
    assert "Traceback" not in output
    assert not (checkout.folder / "results/demo/scores.csv").exists()
    assert not list(checkout.folder.glob("results/demo/tables/*"))


def test_a_missing_score_is_no_smaller_table(checkout):
    (missing,) = checkout.folder.glob("results/demo/pythia-demo/mask50/*/l0_8/seed_0/scores/ood.json")
    missing.unlink()
    output = checkout.snakemake("tables")
    assert checkout.status != 0
    assert str(missing.relative_to(checkout.folder)) in output
    assert not (checkout.folder / "results/demo/scores.csv").exists()
