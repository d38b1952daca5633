"""Verdicts on the paper's claims, from scores whose verdict one knows."""

from copy import deepcopy

import numpy as np
import pytest

from maskedsae.experiment.grid import difference_settings, table_settings
from maskedsae.inference.differences import differences
from maskedsae.inference.verdicts import NOT_TESTED, OPPOSITE, SAME, SIGN_ONLY, WITHIN, verdicts
from maskedsae.report.make import ood_interval
from maskedsae.scores.metrics import paper_metrics
from maskedsae.scores.ood.intervals import Scored, paired_difference, write_scores
from maskedsae.scores.table import Row, Scores
from scored import PAPER, PUBLISHED, rows_of

METRICS = {metric.key: metric for metric in paper_metrics(PAPER["report"])}
NAMES = {entry["name"]: PUBLISHED.model_of(entry) for entry in PAPER["models"]}


def printed(model: str, p: float, l0: int, seed: int, key: str) -> float:
    """The paper's own numbers, as SAEBench would have them."""
    if key not in METRICS:
        return {"ood.auc": 0.7 + 0.1 * p}.get(key, l0)
    values = PUBLISHED.values(NAMES[model], METRICS[key].label, [(p, l0)])
    share = values[0] / 100 if values else 0.5
    return 1 - share if METRICS[key].inverted else share


def narrow(*_) -> tuple[float, float]:
    return 0.02, 0.04


def judged(number=printed, config: dict = PAPER, interval=narrow) -> dict:
    scores = Scores(rows_of(config, number))
    return {verdict.id: verdict for verdict in verdicts(table_settings(config), scores, PUBLISHED, interval)}


def test_the_papers_own_numbers_and_what_they_say_of_its_claims():
    """Worked out by hand from Tables 1-3. Known spreads: 3 points for probing, 0.8 for TPP, 8 for SCR."""
    assert {name: verdict.verdict for name, verdict in judged().items()} == {
        "absorption-pythia": SAME,
        "absorption-gemma": SAME,
        "absorption-everywhere-pythia": SAME,
        "absorption-everywhere-gemma": OPPOSITE,  # 98.969 and then 97.322 at l0 = 80
        "absorption-diminishes-pythia": SAME,
        "absorption-diminishes-gemma": SAME,
        "variance-pythia": SAME,
        "variance-gemma": NOT_TESTED,  # "comparable"
        "probing-pythia-20": WITHIN,  # 2.091
        "probing-pythia-40": WITHIN,  # 2.013
        "probing-everywhere-pythia": WITHIN,
        "probing-everywhere-gemma": WITHIN,  # 4.041 at l0 = 40 and less than 0 elsewhere, by up to 0.416
        "tpp-pythia-20": SAME,  # 2.272
        "scr-everywhere-pythia": WITHIN,  # -0.833 at l0 = 40
        "scr-everywhere-gemma": NOT_TESTED,  # "comparable or slightly deteriorated"
        "scr-pythia-80": WITHIN,  # 7.494
        "scr-pythia-160": SAME,  # 11.799
        "scr-gemma-160": WITHIN,  # 4.307
        "ood-pythia": SAME,
        "ood-gemma": SAME,
        "oracle-pythia": SAME,
        "oracle-gemma": SAME,
        "p-absorption": SAME,
        "p-variance": SAME,
    }


def test_differences_are_in_points_beside_the_papers_own():
    (difference,) = judged()["absorption-pythia"].differences
    assert (difference.name, difference.spread) == (
        "0.3@20 - 0@20",
        "sign only; spread unknown; of these SAEs only",
    )
    assert difference.ours == pytest.approx(2.356)
    assert difference.published == pytest.approx(2.356)
    (gain,) = judged()["ood-pythia"].differences
    assert gain.ours == pytest.approx(3)
    assert gain.published == 1.48
    # Table 3 alone has each step of p.
    steps = [difference.published for difference in judged()["p-variance"].differences]
    assert steps == pytest.approx([-0.311, -0.590, -1.730])
    oracle = judged()["oracle-pythia"].differences
    assert [difference.name for difference in oracle] == ["oracle - 0@20", "oracle - 0.3@20"]
    assert [difference.ours for difference in oracle] == pytest.approx([20, 17])
    # (88.475 - 86.119) - (98.003 - 97.434)
    assert judged()["absorption-diminishes-pythia"].differences[0].ours == pytest.approx(1.787)


def test_a_claim_of_several_differences_is_judged_by_its_weakest():
    verdict = judged()["absorption-everywhere-gemma"]
    assert [difference.verdict for difference in verdict.differences] == [SAME, SAME, OPPOSITE, OPPOSITE]
    assert verdict.why == (
        "of 4 differences: 2 same direction, 2 opposite direction; sign only; spread unknown; of these SAEs only"
    )
    assert judged()["scr-everywhere-pythia"].why == "of 4 differences: 3 same direction, 1 within the known spread"


def test_no_difference_at_all_has_no_direction_where_no_spread_is_known():
    found = judged(lambda *_: 0.5)
    assert (found["absorption-pythia"].verdict, found["absorption-pythia"].why) == (NOT_TESTED, SIGN_ONLY)
    assert found["absorption-everywhere-pythia"].verdict == NOT_TESTED
    assert found["probing-pythia-20"].verdict == WITHIN


def test_what_is_claimed_to_be_no_worse_may_be_equal():
    assert judged(lambda *_: 0.5)["scr-everywhere-pythia"].verdict == SAME
    worse = judged(lambda model, p, *_: 0.5 - p)["scr-everywhere-pythia"]  # by 30 points; 8 are known to be chance
    assert worse.verdict == OPPOSITE


def test_oracles_that_learned_from_other_rows_are_not_compared():
    config = deepcopy(PAPER)
    config["ood"]["same_rows"] = False
    assert judged(config=config)["oracle-pythia"].verdict == NOT_TESTED
    assert judged(config=config)["ood-pythia"].verdict == SAME


def test_each_verdict_has_its_trainer():
    config = deepcopy(PAPER) | {"trainers": ["matryoshka_batch_topk", "topk"]}
    found = verdicts(table_settings(config), Scores(rows_of(config, printed)), PUBLISHED, narrow)
    assert [verdict.trainer for verdict in found if verdict.id == "tpp-pythia-20"] == config["trainers"]


def mirrored(model: str, p: float, l0: int, seed: int, key: str) -> float:
    """Masked and unmasked exchanged."""
    return printed(model, {0: 0.3, 0.3: 0}.get(p, p), l0, seed, key)


def test_the_opposite_is_said():
    found = judged(mirrored, interval=lambda *_: (-0.04, -0.02))
    for name in ("absorption-pythia", "variance-pythia", "tpp-pythia-20", "scr-pythia-160", "ood-pythia"):
        assert found[name].verdict == OPPOSITE, name
    assert found["probing-pythia-20"].verdict == WITHIN


def test_the_paired_interval_decides_on_ood():
    found = judged(interval=lambda *_: (-0.001, 0.06))
    assert found["ood-pythia"].verdict == WITHIN
    assert "paired: -0.100 to 6.000" in found["ood-pythia"].why


def with_seeds(*seeds: int) -> dict:
    return deepcopy(PAPER) | {"seeds": list(seeds)}


def test_with_several_seeds_their_own_spread_decides():
    """A gain of 1.2, 1 and 0.8 points of probing is beyond its spread over seeds, though the known spread is 3."""
    gains = {0: 0.012, 1: 0.010, 2: 0.008}

    def sure(model, p, l0, seed, key):
        return 0.7 + (gains[seed] if p == 0.3 else 0) if key.startswith("sparse_probing") else 0.5

    def unsure(model, p, l0, seed, key):
        return 0.7 + (5 * (gains[seed] - 0.009) if p == 0.3 else 0) if key.startswith("sparse_probing") else 0.5

    verdict = judged(sure, with_seeds(0, 1, 2))["probing-pythia-20"]
    assert (verdict.verdict, verdict.seeds) == (SAME, 3)
    assert "over 3 seeds: +/- 0.497" in verdict.why  # 4.303 x 0.2 / sqrt(3)
    assert judged(unsure, with_seeds(0, 1, 2))["probing-pythia-20"].verdict == WITHIN


def test_what_is_not_in_the_scores_is_not_tested():
    config = deepcopy(PAPER)
    config["tables"] = config["tables"][:1]  # no Gemma, no other p
    found = judged(config=config)
    assert found["absorption-pythia"].verdict == SAME
    assert (found["p-absorption"].verdict, found["p-absorption"].why) == (
        NOT_TESTED,
        "no absorption at p = 0.2, l0 = 20 in scores.csv",
    )
    config["models"] = config["models"][:1]
    assert judged(config=config)["absorption-gemma"].why == "google/gemma-2-2b is not part of this run"


@pytest.mark.parametrize("change", [{"world": {}}, {"mask": "_"}, {"trainers": ["topk"]}])
def test_another_experiment_tests_no_claim(change):
    found = judged(config=deepcopy(PAPER) | change)
    assert {verdict.verdict for verdict in found.values()} == {NOT_TESTED}


def test_no_verdict_says_reproduced():
    words = {verdict.verdict for verdict in judged().values()}
    assert words == {SAME, OPPOSITE, WITHIN, NOT_TESTED}
    assert not any("reproduc" in word for word in words)


def test_the_interval_of_an_ood_claim_is_that_of_the_two_saes_own_rows(tmp_path):
    """From the files beside the score's source, the first SAE less the second."""
    rng, labels = np.random.default_rng(0), np.arange(40) % 2
    rows = []
    streams = (("clean", 0.0, 0.2), ("mask30", 0.3, 2.0), ("oracle", None, 4.0))
    for stream, p, signal in streams:
        folder = tmp_path / stream
        folder.mkdir()
        scored = [
            Scored("set", test, np.arange(40), labels, labels * signal + rng.normal(size=40))
            for test in ("ood", "in_distribution")
        ]
        # Two data sets, since the spread over them is part of what is computed.
        scored += [Scored("other", of.test, of.rows, of.labels, of.scores) for of in scored]
        name = "oracle" if p is None else "ood"
        write_scores(folder / f"{name}_rows.csv", scored)
        of = (None, None, None) if p is None else ("t", 20, 0)
        rows.append(Row("paper", "m", stream, p, *of, f"{name}.auc", 0.5, str(folder / f"{name}.json")))
    clean, mask30, oracle = (
        tmp_path / path for path in ("clean/ood_rows.csv", "mask30/ood_rows.csv", "oracle/oracle_rows.csv")
    )
    settings = {"streams": PAPER["streams"], "ood": {"bootstrap": 200, "seed": 7}}
    interval = ood_interval(settings, Scores(rows))
    expected = paired_difference(mask30, clean, 200, 7)["ood"]["interval"]
    assert list(interval("m", "t", 0, (0.3, 20), (0.0, 20))) == expected
    assert expected[0] > 0
    assert expected != paired_difference(mask30, clean)["ood"]["interval"]
    assert (
        list(interval("m", "t", 0, "oracle", (0.0, 20))) == paired_difference(oracle, clean, 200, 7)["ood"]["interval"]
    )


def test_differences_use_the_configurations_bootstrap(monkeypatch, tmp_path):
    asked = []
    aucs = {"mean": 0.1, "interval": [0.0, 0.2]}

    def paired(one, other, resamples, seed):
        asked.append((resamples, seed))
        return {"ood": aucs, "in_distribution": aucs}

    monkeypatch.setattr("maskedsae.inference.differences.paired_difference", paired)
    config = deepcopy(PAPER) | {"world": {}}
    config["ood"] |= {"bootstrap": 50, "seed": 3}
    files = [tmp_path / f"results/r/m/{stream}/t/l0_20/seed_0/scores/ood_rows.csv" for stream in ("clean", "mask30")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    (entry,) = differences([str(file) for file in files], difference_settings(config))
    assert asked == [(50, 3)]
    assert entry["demo"] is True
