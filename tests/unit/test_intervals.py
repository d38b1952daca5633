"""Intervals of probes' AUCs: what they hold of the samples, and of whose rows they are."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from maskedsae.experiment.settings import difference_settings
from maskedsae.inference.paired import differences
from maskedsae.scores.ood.rows import Scored, interval, summary, write_scores
from reported import DEMO, checked

NO_ARMS = {"analysis": DEMO["analysis"] | {"arms": []}}


def test_an_interval_holds_the_middle_95_percent():
    samples = np.random.default_rng(0).permutation(np.arange(1001.0))
    assert interval(samples) == [25, 975]


def test_between_samples_its_ends_are_interpolated():
    assert interval(np.arange(11.0)) == pytest.approx([0.25, 9.75])


def test_a_summary_has_the_mean_its_error_over_data_sets_and_the_interval_of_the_resampled_means():
    """Of 0.6 and 0.8: their standard deviation is 0.1414, over the root of 2. The resampled ones move together."""
    moves = np.linspace(-0.05, 0.05, 1001)
    found = summary([0.6, 0.8], [0.6 + moves, 0.8 + moves])
    assert (found["mean"], found["standard_error"]) == pytest.approx((0.7, 0.1))
    assert found["interval"] == pytest.approx([0.6525, 0.7475])


def test_the_interval_of_an_auc_is_as_wide_as_chance_makes_it():
    """Of 100 rows a class at an AUC of 0.76 the standard error is known (Hanley and McNeil, 1982)."""
    rng, labels = np.random.default_rng(1), np.repeat([0, 1], 100)
    scored = Scored("set", "ood", np.arange(200), labels, labels + rng.normal(size=200))
    low, high = interval(scored.resampled_aucs(2000, seed=1))
    auc = scored.auc
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = ((auc * (1 - auc) + 99 * (first - auc**2) + 99 * (second - auc**2)) / 100**2) ** 0.5
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.08)
    assert low < auc < high


def write_run_of(folder: Path, names: list[str]) -> list[str]:
    """An ood_rows.csv for a cell of each stream; the later, the better it tells the classes apart."""
    rng, labels = np.random.default_rng(0), np.arange(60) % 2
    paths = []
    for signal, name in enumerate(names):
        path = folder / f"results/demo/pythia-demo/{name}/topk/l0_8/seed_0/scores/ood_rows.csv"
        path.parent.mkdir(parents=True)
        sets = [(dataset, test) for dataset in "ab" for test in ("ood", "in_distribution")]
        write_scores(path, [Scored(*key, np.arange(60), labels, labels * signal + rng.normal(size=60)) for key in sets])
        paths.append(str(path))
    return paths


def test_differences_are_resampled_as_the_configuration_says(monkeypatch, tmp_path):
    asked = []
    aucs = {"mean": 0.1, "interval": [0.0, 0.2]}

    def paired(one, other, resamples, seed):
        asked.append((Path(one).parts[-6], Path(other).parts[-6], resamples, seed))
        return {"ood": aucs, "in_distribution": aucs}

    monkeypatch.setattr("maskedsae.inference.paired.paired_difference", paired)
    config = deepcopy(DEMO)
    config["ood"] |= {"bootstrap": 50, "seed": 3}
    (entry,) = differences(write_run_of(tmp_path, ["clean", "mask30"]), difference_settings(checked(config)))
    assert asked == [("mask30", "clean", 50, 3)]
    assert entry["demo"] is True


def test_the_baseline_is_the_stream_without_corruption_whatever_its_name(tmp_path):
    config = (
        DEMO
        | {"streams": [{"name": "mask30", "corruption": None}, {"name": "clean", "p": 0.3}], "tables": []}
        | NO_ARMS
    )
    paths = write_run_of(tmp_path, ["mask30", "clean"])
    (entry,) = differences(paths, difference_settings(checked(config)))
    assert (entry["stream"], entry["less"], entry["sources"]) == ("clean", "mask30", paths[::-1])
    assert entry["ood"]["mean"] > 0


def test_without_the_baseline_there_is_no_difference(tmp_path):
    config = DEMO | {"streams": [{"name": "mask20", "p": 0.2}, {"name": "mask30", "p": 0.3}], "tables": []} | NO_ARMS
    assert differences(write_run_of(tmp_path, ["mask20", "mask30"]), difference_settings(checked(config))) == []
