"""The overlays of profiles/study can answer the question, and docs/study says what its numbers say."""

import csv
import re
from functools import cache
from statistics import fmean, stdev

import pytest
import yaml
from snakemake.utils import update_config

from checkout import ROOT, configuration_of
from maskedsae.experiment.grid import training_jobs
from maskedsae.inference.arms import ARMS, arm_of
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import read_json
from maskedsae.report.study import render, write_study


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


# docs/study/

STUDY = ROOT / "docs/study"
LINK = re.compile(r"\[([^\]]+)\]\(([\w-]+/(?:scores|contrasts)\.csv)#L(\d+)(?:-L(\d+))?\)")
INTERVAL = re.compile(r"([+\u2212]?[\d.]+) \(([+\u2212]?[\d.]+) to ([+\u2212]?[\d.]+)\)")


@cache
def table(file: str) -> list[dict[str, str]]:
    with open(STUDY / file, newline="") as opened:
        return list(csv.DictReader(opened))


def lines_of(file: str, first: str, last: str) -> list[dict[str, str]]:
    """The rows that a link of the write-up leads to."""
    return table(file)[int(first) - 2 : int(last or first) - 1]


def less_baseline(file: str, rows: list[dict[str, str]]) -> list[float]:
    """Scores of an SAE less those of the clean one of its seed."""
    baseline = [row for row in table(file) if row["stream"] == "clean"]
    key = ("metric", "trainer", "l0", "seed")
    value = {tuple(row[name] for name in key): float(row["value"]) for row in baseline}
    return [float(row["value"]) - value[tuple(row[name] for name in key)] for row in rows]


def printed(number: str) -> float:
    return float(number.replace("\u2212", "-"))


def test_the_write_up_is_what_its_template_makes_of_the_numbers_beside_it():
    assert render(ROOT / "profiles/study/write-up.md", STUDY) == (STUDY / "README.md").read_text()


def test_each_number_of_the_write_up_is_that_of_the_rows_it_leads_to():
    links = LINK.findall((STUDY / "README.md").read_text())
    assert len(links) > 50
    for words, file, first, last in links:
        rows = lines_of(file, first, last)
        if file.endswith("contrasts.csv"):
            if words == "—":
                assert rows[0]["missing"]
                continue
            numbers = [float(rows[0][name]) for name in ("mean", "low", "high")]
            assert [printed(part) for part in INTERVAL.fullmatch(words).groups()] == pytest.approx(numbers, abs=0.051)
            continue
        (metric,) = {row["metric"] for row in rows}
        assert len({(row["trainer"], row["stream"], row["l0"]) for row in rows}) == 1
        assert len({row["seed"] for row in rows}) == len(rows) >= 5
        if words.startswith("sd "):  # of a difference from the baseline, which leads to the masked SAE
            sd = stdev(100 * difference for difference in less_baseline(file, rows))
            assert printed(words.removeprefix("sd ")) == pytest.approx(sd, abs=0.051), metric
        else:
            mean = fmean(float(row["value"]) for row in rows)
            assert printed(words.rstrip("%")) == pytest.approx(mean * (100 if words.endswith("%") else 1), abs=0.051), (
                metric
            )


@pytest.mark.parametrize("run", ["planted", "language-model"])
def test_whoever_doubts_a_contrast_finds_the_scores_that_it_is_made_of(run):
    metrics = read_json(STUDY / run / "verdicts.json")["metrics"]
    judged = {metrics[row["endpoint"]] for row in table(f"{run}/contrasts.csv") if row["margin"]}
    assert len(judged) >= 5
    assert judged < {row["metric"] for row in table(f"{run}/scores.csv")}


def test_words_that_the_numbers_no_longer_bear_out_stop_the_write_up(tmp_path):
    (tmp_path / "write-up.md").write_text('{{ only_if(run("planted").n > 1000, "A thousand seeds.") }}')
    with pytest.raises(InputError, match=r"the numbers no longer say so: 'A thousand seeds\."):
        render(tmp_path / "write-up.md", STUDY)


def test_a_run_that_is_not_finished_is_named(tmp_path):
    with pytest.raises(InputError, match=r"unfinished/scores\.csv: missing: finish the run first"):
        write_study(ROOT / "profiles/study/write-up.md", [str(tmp_path / "unfinished")], tmp_path)
