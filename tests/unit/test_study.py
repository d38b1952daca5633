"""The overlays of profiles/study: what they plan can answer the question."""

import pytest
import yaml
from snakemake.utils import update_config

from checkout import ROOT, configuration_of
from maskedsae.experiment.grid import training_jobs
from maskedsae.inference.arms import ARMS, arm_of


def study(*names):
    overlay: dict = {}
    for name in names:
        update_config(overlay, yaml.safe_load((ROOT / f"profiles/study/{name}.yaml").read_text()))
    return configuration_of(overlay)


RUNS = ["planted", "language-model", "paper"]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_the_four_arms_of_one_corruption_beside_the_baseline(name):
    config = study(name)
    arms = [config.stream(arm) for arm in config.analysis.arms]
    assert sorted(map(arm_of, arms)) == sorted(ARMS.values())
    assert len({arm.corruption for arm in arms}) == 1
    assert any(stream.is_baseline for stream in config.streams)


@pytest.mark.parametrize("name", RUNS)
def test_the_baseline_reaches_the_l0_that_masked_saes_have(name):
    config = study(name)
    for arm in map(config.stream, config.analysis.arms):
        nominal = max(config.analysis.l0 or config.l0)
        assert max(*config.l0, *config.analysis.baseline_l0) >= nominal / (1 - arm.p)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_the_trainers_of_its_analysis_and_seeds_enough_for_a_verdict(name):
    config = study(name)
    assert {config.analysis.control, *config.analysis.assay} <= set(config.trainers)
    data_seeds = {config.stream_seed(seed) for seed in config.seeds}
    assert len(data_seeds) >= config.analysis.least_seeds


def test_controls_are_trained_beside_the_arms_and_train_none_of_them_again():
    before, after = (training_jobs(study(*names), needed=True) for names in (RUNS[1:2], (RUNS[1], "controls")))
    assert set(before) < set(after)
    assert {job.stream for job in after} - {job.stream for job in before} == {
        "words30",
        "replace30",
        "delete30",
        "noise30",
    }
