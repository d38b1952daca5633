"""Planted truths in the grid: what a configuration may say about them, and what their cells and jobs are."""

from copy import deepcopy

import pytest
import yaml

from checkout import ROOT, configuration_of
from conftest import MATRYOSHKA
from maskedsae.experiment import outputs, resources, settings
from maskedsae.experiment.grid import all_cells, measured_files, on_planted, oracles, score_files, training_jobs
from maskedsae.jobs.errors import InputError
from maskedsae.saes.cells import Cell

STUDY = yaml.safe_load((ROOT / "profiles/study/planted.yaml").read_text())
PYTHIA = {"name": "pythia", "hub": "owner/pythia", "layer": 1}
TRUTH = {"name": "truth", "planted": {}}


def mixed(**changes):
    return configuration_of({"models": [PYTHIA, TRUTH], "tables": []} | changes)


@pytest.mark.parametrize(
    ("overlay", "line"),
    [
        ({"models": [{"name": "truth"}]}, "models[0].layer: missing: config.yaml shows its default"),
        ({"models": [TRUTH | {"planted": None}]}, "models[0].layer: missing: config.yaml shows its default"),
        (
            {"models": [TRUTH | {"hub": "owner/name"}]},
            "models: truth: hub is of a language model, and this one is planted: leave it out",
        ),
        (
            {"models": [TRUTH | {"layer": 3}]},
            "models: truth: layer is of a language model, and this one is planted: leave it out",
        ),
        (
            {"models": [TRUTH | {"planted": {"parent": 3}}]},
            "models[0].planted.parent: unknown key: did you mean parents?",
        ),
        (
            {"models": [TRUTH | {"planted": {"child_rate": 1}}]},
            "models[0].planted.child_rate: 1 is out of range: it must be less than 1",
        ),
        (
            {"models": [TRUTH | {"planted": {"free_rates": {"least": 0.3}}}]},
            "models: truth: planted.free_rates.least: 0.3 is not below most (0.2): lower it",
        ),
        (
            {"streams": [{"name": "clean"}, {"name": "gone", "corruption": {"kind": "delete", "p": 0.3}}]},
            "streams: gone: delete needs text, and truth is planted: only mask has a meaning there: give the planted "
            "model a run of its own",
        ),
        (
            {"tables": [{"name": "t", "model": "truth", "streams": ["clean"]}]},
            "tables: t: model truth is planted, and tables show SAEBench's scores, which it has not: take it out of "
            "tables (the target grid makes its SAEs and scores)",
        ),
        (
            {"training": {"drop_bos": True}},
            "training.drop_bos: is for language models, and truth is planted: set it to false, or give the planted "
            "model a run of its own",
        ),
        (
            {"training": {"max_norm_multiple": 10}},
            "training.max_norm_multiple: is for language models, and truth is planted: set it to null, or give the "
            "planted model a run of its own",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(overlay, line):
    with pytest.raises(InputError) as error:
        mixed(**deepcopy(overlay))
    assert str(error.value) == f"configuration: {line}"


def test_a_small_dictionary_is_no_problem_where_nobody_probes_it():
    small = {"training": {"dict_size": 200}, "l0": [5], "l0_sets": []}
    configuration_of({"models": [TRUTH], "tables": []} | small)
    with pytest.raises(InputError, match=r"n_values: 500 is larger than the dictionary"):
        mixed(**small)


def test_only_a_language_model_has_saebenchs_scores_an_oracle_and_text():
    config = mixed()
    cells = {name: Cell("paper", name, "clean", MATRYOSHKA, 20, 0) for name in ("pythia", "truth")}
    assert score_files(config, cells["truth"]) == [f"{cells['truth'].folder}/scores/planted.json"]
    assert len(score_files(config, cells["pythia"])) > 1
    assert not [file for file in score_files(config, cells["pythia"]) if "planted.json" in file]
    assert measured_files(config, [cells["truth"]])[1:] == [f"{cells['truth'].folder}/sae/quality.json"]
    assert oracles(config) == ["results/paper/pythia/oracle.json"]
    scores = {model.name: model.scores for model in settings.shown(config).models}
    assert scores["truth"] == ("planted", "quality") and "planted" not in scores["pythia"]
    inputs = outputs.page_inputs(config, [], ROOT)
    assert inputs["tokens"] == ["results/paper/pythia/tokens/manifest.json"]


def test_what_planted_saes_depend_on():
    config = mixed()
    jobs = training_jobs(config, needed=False)
    planted = on_planted(config, jobs)
    assert {job.model for job in planted} == {"truth"} and len(planted) == len(jobs) / 2
    for job in jobs:
        code = settings.train_settings(config, job).code[MATRYOSHKA]
        assert ("activations.planted.truth" in code) == ("saes.planted" in code) == (job in planted)
    of = settings.train_settings(config, planted[0])
    assert of == settings.train_settings(mixed(mask="?", tokens={"context_length": 7}), planted[0])
    scoring = settings.planted_scoring(mixed(seeds=[3], seeds_per_stream=2), planted[0])
    assert (scoring.stream_seed, scoring.rates) == (0, (0.2, 0.3, 0.5))
    assert settings.truth_settings(config, "truth").planted.parents == 20


def test_a_planted_job_has_no_forward_pass_and_no_tokens():
    config = mixed()
    (job, *_) = on_planted(config, training_jobs(config, needed=False))
    assert resources.forward_hours(config, job) == 0
    assert resources.training_hours(config, job) == resources.step_hours(config, job) > 0
    assert resources.training_gigabytes(config, job) < 6
    # 24 bytes a weight: four SAEs of 4,096 latents and 96 dimensions.
    assert resources.disk_gigabytes(config, [job], []) == pytest.approx(4 * 24 * 4096 * 96 / 1e9)


def test_the_study_has_twenty_worlds_and_all_arms():
    config = configuration_of(STUDY)
    assert training_jobs(config, needed=False) == []  # the analysis needs every SAE
    cells = all_cells(training_jobs(config, needed=True))
    assert len(cells) == 20 * 3 * (4 + 4)  # four arms at l0 5, and four l0s of the baseline
    arms = [(stream.p, stream.context, stream.rows) for stream in config.streams if not stream.is_baseline]
    assert len(set(arms)) == 4 and {arm[0] for arm in arms} == {0.3}
