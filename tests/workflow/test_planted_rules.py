"""A planted truth as a model of the grid, run by Snakemake from nothing to scores.csv."""

import json
import re

import pytest

from checkout import TINY, TOPK, Checkout, copy_workflow
from conftest import MATRYOSHKA
from maskedsae.activations.settings import Stream
from maskedsae.scores.table import Scores, collect, read_rows

PLANTED = TINY | {
    "models": [{"name": "truth", "planted": {"width": 24, "parents": 4, "free": 10, "heldout_rows": 500}}],
    "streams": [{"name": "clean"}, {"name": "budget30", "p": 0.3, "context": "clean"}],
    "trainer_sets": [[MATRYOSHKA, TOPK]],
}
JOBS = ("truth", "train", "planted")


def of(stream: str) -> set[str]:
    name = f"truth_{stream}_{MATRYOSHKA}-and-{TOPK}_l0_4-8_seed_0"
    return {f"train/{name}", f"planted/{name}"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Checkout:
    folder = tmp_path_factory.mktemp("planted")
    copy_workflow(folder)
    checkout = Checkout(folder, PLANTED)
    # No text anywhere: TINY's corpus is not even there.
    checkout.config["corpus"] = {"dataset": "owner/text", "split": None, "filter": None}
    assert set(checkout.planned("grid", JOBS)) == {"truth/truth", *of("clean"), *of("budget30")}
    output = checkout.snakemake("grid")
    assert checkout.status == 0, output
    return checkout


def test_every_cell_has_its_sae_and_its_score(finished):
    rows = read_rows(finished.folder / "results/tiny/grid_scores.csv")
    cells = {row.cell for row in rows}
    assert len(cells) == 8
    assert {row.metric.split(".")[0] for row in rows} == {"quality", "planted"}
    scores = Scores(rows)
    for cell in cells:
        # Measured twice, on the same held-out rows: by dictionary_learning's class and by our reader of SAELens' file.
        for ours, other in (("l0", "l0"), ("explained_variance", "explained_variance")):
            assert scores.value(cell, f"planted.{ours}") == pytest.approx(
                scores.value(cell, f"quality.{other}"), abs=1e-4
            )
        assert scores.has(cell, "planted.at_freed_30.missed") == (cell.trainer == MATRYOSHKA)
        files = {path.name for path in (finished.folder / cell.folder / "scores").iterdir()}
        assert files == {"planted.json"}
    facts = json.loads((finished.folder / "results/tiny/truth/model.json").read_text())
    assert (facts["width"], facts["features"], facts["planted"]["children"]) == (24, 38, 6)


def test_what_is_done_is_done_and_the_other_targets_have_nothing_to_do(finished):
    assert finished.planned("grid", JOBS) == {}
    for target in ("saes", "scores"):  # without tables there are none that they need
        assert re.search(r"^total +1$", finished.snakemake("--dry-run", target), re.MULTILINE)
        assert finished.status == 0


def test_another_truth_trains_again_and_another_seed_adds_its_own_jobs(finished, tmp_path):
    checkout = finished.copy_to(tmp_path)
    checkout.config["models"][0]["planted"]["broken"] = 0.5
    assert set(checkout.planned("grid", JOBS)) == {"truth/truth", *of("clean"), *of("budget30")}
    checkout.config = finished.config | {"seeds": [0, 1]}
    assert {job[-7:] for job in checkout.planned("grid", JOBS)} == {"_seed_1"}


def test_a_value_that_no_score_can_have_is_refused(finished, tmp_path):
    checkout = finished.copy_to(tmp_path)
    path = next(checkout.folder.glob("results/tiny/truth/clean/*/l0_4/seed_0/scores/planted.json"))
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"missed": 1.5}))
    with pytest.raises(Exception, match=r"planted.missed is 1.5, and can only lie between 0 and 1"):
        collect([str(path)], (Stream("clean"),))
