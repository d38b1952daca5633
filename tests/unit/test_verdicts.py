"""Verdicts on the paper's claims, from scores whose verdict one knows."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from maskedsae.inference.paired import paired_difference
from maskedsae.inference.published import FILES
from maskedsae.inference.verdicts import NOT_TESTED, OPPOSITE, SAME, SIGN_ONLY, WITHIN, verdicts
from maskedsae.report.make import write_report_tables
from maskedsae.scores.ood.rows import Scored, write_scores
from maskedsae.scores.table import Scores, write_rows
from reported import PAPER, ROOT, shown_of
from scored import PUBLISHED, rows_of

# Claims that no cells can settle.
NO_CELLS = ("architectures", "robustness", "shortcuts", "model-sizes", "redundancy", "p-downstream", "token-dropout")

METRICS = {metric.key: metric for metric in shown_of(PAPER).report.metrics}
NAMES = {model.name: PUBLISHED.model_of(model) for model in shown_of(PAPER).models}


def printed(model: str, p: float, l0: int, seed: int, key: str) -> float:
    """The paper's own numbers, as SAEBench would have them."""
    if key not in METRICS:
        return {"ood.auc": 0.7 + 0.1 * p}.get(key, l0)
    values = PUBLISHED.values(NAMES[model], METRICS[key].label, [(p, l0)])
    share = values[0] / 100 if values else 0.5
    return 1 - share if METRICS[key].inverted else share


def narrow(*_) -> tuple[float, float]:
    return 0.02, 0.04


def judged(number=printed, config: dict = PAPER, interval=narrow, **changes) -> dict:
    """`changes`: of what is shown, demo=True for one."""
    scores, shown = Scores(rows_of(config, number)), shown_of(config, **changes)
    return {verdict.id: verdict for verdict in verdicts(shown, scores, PUBLISHED, interval)}


def test_the_papers_own_numbers_and_what_they_say_of_its_claims():
    """Worked out by hand from Tables 1-3. Known spreads: 3 points for probing, 0.8 for TPP, 8 for SCR."""
    assert {name: verdict.verdict for name, verdict in judged().items()} == {
        **dict.fromkeys(NO_CELLS, NOT_TESTED),
        "ood-gap-pythia": SAME,
        "ood-gap-gemma": SAME,
        "p-best": OPPOSITE,  # absorption: 89.602 at p = 0.5, 88.475 at 0.3
        "all-metrics-pythia": OPPOSITE,  # explained variance: -0.906 at l0 = 20
        "all-metrics-gemma": OPPOSITE,
        "all-metrics-sparse-pythia": OPPOSITE,  # explained variance: -0.906 at l0 = 20 and 0.982 at 160
        "all-metrics-sparse-gemma": OPPOSITE,
        "baseline-absorption-pythia": SAME,
        "baseline-absorption-gemma": SAME,
        "variance-caption-pythia": OPPOSITE,  # 0.116 and 0.982
        "steady-gemma": OPPOSITE,  # as absorption-everywhere-gemma
        "trade-offs-gemma": NOT_TESTED,  # "competitively"
        "tpp-everywhere-pythia": WITHIN,  # -0.545 at l0 = 80
        "tpp-everywhere-gemma": OPPOSITE,  # -1.562 at l0 = 160
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


def test_a_claim_of_several_metrics_is_tested_on_each():
    verdict = judged()["steady-gemma"]
    assert verdict.metrics == ("absorption", "explained_variance")
    assert [difference.name for difference in verdict.differences][3:5] == [
        "absorption: 0.3@160 - 0@160",
        "explained_variance: 0.3@20 - 0@20",
    ]
    printed_ones = [-0.195, 53.125 - 53.516]
    assert [difference.published for difference in verdict.differences][3:5] == pytest.approx(printed_ones)
    assert [difference.ours for difference in verdict.differences][3:5] == pytest.approx(printed_ones)
    assert verdict.why.startswith("of 8 differences: 5 same direction, 3 opposite direction")


@pytest.mark.parametrize("changes", [{}, {"demo": True}, {"config": deepcopy(PAPER) | {"mask": "_"}}])
def test_a_claim_that_no_cells_can_settle_says_why_whatever_the_run(changes):
    verdict = judged(**changes)["token-dropout"]
    assert (verdict.verdict, verdict.model, verdict.differences) == (NOT_TESTED, None, ())
    assert verdict.why == "the paper has no SAE that was trained with token dropout"


def test_what_we_take_a_claim_to_mean_stands_beside_its_words():
    verdict = judged()["p-absorption"]
    assert verdict.text == "as masking probability increases, the performance on metrics such as absorption increases"
    assert (verdict.place, verdict.read_as) == ("§3 Ablation", "absorption, from each p to the next")
    assert judged()["absorption-pythia"].read_as is None


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
    found = verdicts(shown_of(config), Scores(rows_of(config, printed)), PUBLISHED, narrow)
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


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.0050, SAME), (0.0049, WITHIN), (0.0034, WITHIN), (-0.0049, WITHIN), (-0.0050, OPPOSITE)]
)
def test_the_interval_over_seeds_is_one_of_95_percent(gain, verdict):
    """Three gains with a standard deviation of 0.2 points: Student's t of 2 degrees of freedom is 4.303 at 97.5%, and
    the interval +/- 0.497; of 90% it would be +/- 0.337."""

    def number(model, p, l0, seed, key):
        own = gain + 0.002 * (seed - 1) if p == 0.3 else 0
        return 0.7 + own if key.startswith("sparse_probing") else 0.5

    assert judged(number, with_seeds(0, 1, 2))["probing-pythia-20"].verdict == verdict


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


@pytest.mark.parametrize("change", [{"mask": "_"}, {"trainers": ["topk"]}])
def test_another_experiment_tests_no_claim(change):
    found = judged(config=deepcopy(PAPER) | change)
    assert {verdict.verdict for verdict in found.values()} == {NOT_TESTED}
    assert found["tpp-pythia-20"].why == "another experiment than the paper's"


def test_a_demo_tests_no_claim():
    assert {verdict.verdict for verdict in judged(demo=True).values()} == {NOT_TESTED}


def test_no_verdict_says_reproduced():
    words = {verdict.verdict for verdict in judged().values()}
    assert words == {SAME, OPPOSITE, WITHIN, NOT_TESTED}
    assert not any("reproduc" in word for word in words)


def test_the_interval_of_an_ood_claim_is_that_of_the_two_saes_own_rows(tmp_path, monkeypatch):
    """From the files beside the scores' sources, the first SAE less the second, resampled as the configuration says."""
    monkeypatch.chdir(tmp_path)
    rng, labels = np.random.default_rng(0), np.arange(40) % 2

    def write_rows_of(path: Path, signal: float) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        sets = [(name, test) for name in ("one", "other") for test in ("ood", "in_distribution")]
        noisy = [labels * signal + rng.normal(size=40) for _ in sets]
        write_scores(path, [Scored(*key, np.arange(40), labels, found) for key, found in zip(sets, noisy, strict=True)])
        return path

    config = deepcopy(PAPER)
    config["ood"] |= {"bootstrap": 200, "seed": 7}
    expected = {}
    for model, name in (("pythia-160m-deduped", "pythia"), ("gemma-2-2b", "gemma")):
        folder = Path("results/paper", model)
        cell = "matryoshka_batch_topk/l0_20/seed_0/scores/ood_rows.csv"
        clean, masked = write_rows_of(folder / "clean" / cell, 0.5), write_rows_of(folder / "mask30" / cell, 1.5)
        oracle = write_rows_of(folder / "oracle_rows.csv", 3)
        expected[f"ood-{name}"] = [(masked, clean)]
        expected[f"oracle-{name}"] = [(oracle, clean), (oracle, masked)]
    write_rows("scores.csv", rows_of(config, printed))
    published = [str(ROOT / "reference" / name) for name in FILES]
    to = {"tables_to": [], "verdicts_to": "verdicts.json", "summary_to": "summary.txt"}
    write_report_tables("scores.csv", published, shown_of(config), **to)
    found = {verdict["id"]: verdict for verdict in json.loads(Path("verdicts.json").read_text())}
    for claim, pairs in expected.items():
        intervals = [paired_difference(*pair, resamples=200, seed=7)["ood"]["interval"] for pair in pairs]
        assert [difference["spread"] for difference in found[claim]["differences"]] == [
            f"95% interval over test rows, paired: {100 * low:.3f} to {100 * high:.3f}" for low, high in intervals
        ]
        assert found[claim]["demo"] is False
