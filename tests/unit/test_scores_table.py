"""scores.csv: every number of the score files, under its own name, and nothing that cannot be a score."""

import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from sae_bench.evals.absorption.eval_output import AbsorptionMeanMetrics
from sae_bench.evals.core.eval_output import ReconstructionQualityMetrics
from sae_bench.evals.scr_and_tpp.eval_output import ScrMetrics, TppMetrics
from sae_bench.evals.sparse_probing.eval_output import SparseProbingSaeMetrics

from maskedsae.activations.settings import Stream
from maskedsae.experiment.grid import measured_files, oracles
from maskedsae.experiment.settings import scores_table_settings
from maskedsae.jobs.errors import InputError
from maskedsae.saes.cells import Cell
from maskedsae.scores.metrics import BESIDE_ABSORPTION, paper_metrics
from maskedsae.scores.saebench.names import EVALS
from maskedsae.scores.settings import ScoresTableSettings
from maskedsae.scores.table import COLUMNS, Row, Scores, collect, read_rows, write_rows, write_table
from reported import ALIKE, PAPER, ROOT, cells_of, checked
from scored import DATASETS, N_VALUES, OOD_DATASETS, probes, write_cell

NEOX = Cell("tiny", "neox", "mask30", "topk", l0=8, seed=3)
STREAMS = (Stream.from_plain({"name": "mask30", "p": 0.3}),)


@pytest.fixture
def cell(tmp_path) -> Path:
    return tmp_path / NEOX.folder


def values(rows) -> dict[str, float]:
    return {row.metric: row.value for row in rows}


def test_saebenchs_own_explained_variance_may_be_more_than_everything(cell):
    """Its formula subtracts the square of the mean square: seen at 1.07 on real models."""
    assert values(collect(write_cell(cell, saebench=1.07), STREAMS))["core.explained_variance"] == 1.07


def test_a_row_says_what_it_is_of_and_where_it_stands(cell):
    rows = collect(write_cell(cell, absorption=0.125), STREAMS)
    (row,) = [row for row in rows if row.metric == "absorption.mean_full_absorption_score"]
    assert (row.run, row.model, row.stream, row.p, row.trainer) == ("tiny", "neox", "mask30", 0.3, "topk")
    assert (row.l0, row.seed, row.value) == (8, 3, 0.125)
    assert row.source == str(cell / "scores" / "absorption.json")


def test_every_number_of_every_file_has_its_row(cell):
    """Counted on the files themselves, by another walk."""
    found = collect(write_cell(cell), STREAMS)
    count = {path.stem: 0 for path in [*(cell / "scores").iterdir(), cell / "sae" / "quality.json"]}
    for row in found:
        count[Path(row.source).stem] += 1
    for stem in ("absorption", "core", "sparse_probing", "tpp", "scr"):
        content = json.loads((cell / "scores" / f"{stem}.json").read_text())
        counted = list(content["eval_result_metrics"].values())
        counted += content["eval_result_details"] if stem != "core" else []  # core's are of each latent
        numbers = [value for part in counted for value in part.values() if isinstance(value, int | float)]
        assert count[stem] == len(numbers) > 0, stem
    assert count["quality"] == 6
    assert count["robustness"] == 4 + 6 + 2 + 2
    assert count["parents"] == 4
    assert (count["variance"], count["letters"], count["l0"]) == (4, 4, 6)
    # Of each test: the mean, its error and interval, and an AUC a k; then of each data set, with C, weights and such;
    # the l0 of both tests, and the latents needed for one.
    assert count["ood"] == 2 * (4 + 2) + len(OOD_DATASETS) * (2 * (4 + 2) + 3) + 2 + 1


def test_names_and_values_of_means_data_sets_letters_and_curves(cell):
    numbers = {"saebench": 0.91, "legacy": 0.72, "centred": 0.73, "tpp": 0.12, "scr": -1.5, "auc": 0.61, "l0": 11.5}
    found = values(collect(write_cell(cell, **numbers), STREAMS))
    expected = {
        "core.explained_variance": 0.91,
        "core.explained_variance_legacy": 0.72,
        "variance.centred": 0.73,
        "tpp.tpp_threshold_20_total_metric": 0.12,
        f"tpp.{DATASETS[1]}.tpp_threshold_5_total_metric": 0.01,
        "scr.scr_metric_threshold_20": -1.5,
        "absorption.b.num_full_absorption": 3,
        "sparse_probing.llm_test_accuracy": 0.9,
        f"sparse_probing.{DATASETS[0]}.sae_top_2_test_accuracy": 0.7,
        "ood.auc": 0.61,
        "ood.auc_standard_error": 0.02,
        "ood.auc_low": 0.60,
        "ood.in_distribution_auc": 0.75,
        "ood.auc_top_1": 0.61,
        f"ood.{OOD_DATASETS[0]}.auc_high": 0.62,
        "ood.l0": 9.25,
        "ood.in_distribution_l0": 8.75,
        "ood.in_distribution_latents_for_95": 6.5,
        "letters.best_latent_f1": 0.4,
        "letters.a.probe_f1": 0.8,
        "l0.absorption": 9.5,
        "quality.l0": 11.5,
        "quality.explained_variance": 0.9,
        "quality.explained_variance_but_for_a_constant": 0.95,
        "quality.dead_latents": 3,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert not [name for name in found if "threshold_500" in name]  # N that nobody asked for
    assert "ood.latents_for_95" not in found  # no k was enough


def test_the_oracle_has_no_cell(tmp_path):
    path = tmp_path / "results/tiny/neox/oracle.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(probes(0.8, ks=(96,))))
    rows = collect([str(path)], ())
    assert {(row.stream, row.p, row.trainer, row.l0, row.seed) for row in rows} == {("oracle", *[None] * 4)}
    assert values(rows)["oracle.auc"] == 0.8
    assert Scores(rows).oracle("neox") == 0.8


def test_what_is_written_is_read_back_number_for_number(cell, tmp_path):
    rows = collect(write_cell(cell, absorption=0.1 + 0.2, auc=1 / 3), STREAMS)
    write_rows(tmp_path / "scores.csv", rows)
    assert read_rows(tmp_path / "scores.csv") == rows
    head = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert head == "run,model,stream,p,trainer,l0,seed,metric,value,source" == ",".join(COLUMNS)


def test_the_parquet_file_has_the_same_rows_with_types(cell, tmp_path):
    oracle = tmp_path / "results/tiny/neox/oracle.json"
    files = write_cell(cell, absorption=0.1 + 0.2, auc=1 / 3)
    oracle.write_text(json.dumps(probes(0.8, ks=(96,))))
    write_table(tmp_path / "scores.csv", [*files, str(oracle)], ScoresTableSettings(STREAMS, {}))
    found = pq.read_table(tmp_path / "scores.parquet")
    assert [Row(**row) for row in found.to_pylist()] == read_rows(tmp_path / "scores.csv")
    types = {name: str(found.schema.field(name).type) for name in found.column_names}
    texts = dict.fromkeys(("run", "model", "stream", "trainer", "metric", "source"), "string")
    assert types == texts | {"p": "double", "value": "double", "l0": "int64", "seed": "int64"}
    assert list(types) == list(COLUMNS)
    assert set(found["l0"].to_pylist()) == {8, None}  # the oracle has none


def test_every_metric_of_the_tables_is_one_that_saebench_has():
    """By its own output classes, for every choice that the configuration allows."""
    schema = yaml.safe_load((ROOT / "schemas" / "config.schema.yaml").read_text())
    choices = schema["properties"]["report"]["properties"]
    allowed = {key: choices[key]["enum"] for key in ("explained_variance", "n", "k")}
    form = {
        "absorption": AbsorptionMeanMetrics,
        "core": ReconstructionQualityMetrics,
        "sparse_probing": SparseProbingSaeMetrics,
    }
    form |= {"tpp": TppMetrics, "scr": ScrMetrics}
    for kind, n, k in [
        (kind, n, k) for kind in allowed["explained_variance"] for n in allowed["n"] for k in allowed["k"]
    ]:
        for metric in (*paper_metrics(kind, n, k), *BESIDE_ABSORPTION):
            stem, key = metric.key.split(".")
            assert stem not in form or key in form[stem].__pydantic_fields__, metric


def test_the_cells_are_those_of_the_configuration_and_not_those_that_exist():
    files = measured_files(checked(PAPER), cells_of(PAPER))
    assert len({Cell.parse(file) for file in files}) == 18
    assert len([file for file in files if file.endswith("quality.json")]) == 18
    names = {Path(file).stem for file in files}
    assert names == {*EVALS, "variance", "letters", "l0", "ood", "robustness", "parents", "quality"}
    assert len(set(files)) == len(files) == 18 * 12
    models = ("pythia-160m-deduped", "gemma-2-2b")
    assert oracles(checked(PAPER)) == [f"results/paper/{model}/oracle.json" for model in models]


def test_each_row_has_the_p_of_its_own_stream(tmp_path):
    """Also where other streams have the same p, and where a mask has none."""
    paths = []
    for name in ("mask0", "budget30", "del30", "clean", "mask30"):
        paths += write_cell(tmp_path / replace(NEOX, stream=name).folder)
    write_table(tmp_path / "scores.csv", paths, scores_table_settings(checked(ALIKE)))
    rows = read_rows(tmp_path / "scores.csv")
    found = {(row.stream, row.p, Cell.parse(row.source).stream) for row in rows}
    expected = {"mask0": 0.0, "budget30": 0.3, "del30": 0.3, "clean": 0.0, "mask30": 0.3}
    assert found == {(name, p, name) for name, p in expected.items()}


# What stops the table.


def broken(cell: Path, file: str, change) -> str:
    """The error's one line, which begins with the file's path."""
    paths = write_cell(cell)
    content = json.loads((cell / file).read_text())
    change(content)
    (cell / file).write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        collect(paths, STREAMS)
    line = str(error.value)
    assert line.startswith(f"{cell / file}: ")
    assert "\n" not in line
    return line


def put(path: str, value):
    *folders, last = path.split("/")

    def change(content: dict) -> None:
        for key in folders:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("scores/absorption.json", "eval_result_metrics/mean/mean_full_absorption_score"),
        ("scores/core.json", "eval_result_metrics/reconstruction_quality/explained_variance"),
        ("scores/scr.json", "eval_result_metrics/scr_metrics/scr_metric_threshold_20"),
        ("scores/variance.json", "centred"),
        ("sae/quality.json", "l0"),
    ],
)
def test_what_is_not_finite_stops_with_its_path(cell, file, key, value):
    assert f"is {value}, not a finite number" in broken(cell, file, put(key, value))


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("scores/absorption.json", "eval_result_metrics/mean/mean_full_absorption_score", 1.01),
        ("scores/absorption.json", "eval_result_metrics/mean/mean_full_absorption_score", -0.01),
        ("scores/core.json", "eval_result_metrics/reconstruction_quality/explained_variance_legacy", 1.01),
        ("scores/sparse_probing.json", "eval_result_metrics/sae/sae_top_1_test_accuracy", 75.0),
        ("scores/tpp.json", "eval_result_metrics/tpp_metrics/tpp_threshold_20_total_metric", -1.01),
        ("scores/variance.json", "centred", 1.01),
        ("sae/quality.json", "explained_variance", 1.01),
        ("sae/quality.json", "explained_variance_but_for_a_constant", 1.01),
        ("scores/ood.json", "mean/ood/mean", 1.5),
        ("scores/ood.json", "l0/ood", -1),
        ("scores/l0.json", "absorption", -1),
        ("scores/letters.json", "best_latent_f1", 1.01),
        ("sae/quality.json", "l0", -1),
        ("scores/robustness.json", "typo/jaccard", 1.01),
        ("scores/robustness.json", "typo/probe_auc_change", -1.01),
        ("scores/robustness.json", "clean/raw_probe_auc", -0.01),
        ("scores/robustness.json", "own/l0_touched", -1),
        ("scores/parents.json", "scores/digit/missed", 1.01),
        ("scores/parents.json", "scores/l0_8/digit/missed", -0.01),
    ],
)
def test_what_cannot_be_stops_with_its_path(cell, file, key, value):
    assert f"is {value}, and can only lie between" in broken(cell, file, put(key, value))


def test_saebenchs_minus_one_for_nan_is_no_explained_variance(cell):
    line = broken(cell, "scores/core.json", put("eval_result_metrics/reconstruction_quality/explained_variance", -1))
    assert "which is how SAEBench writes NaN" in line


@pytest.mark.parametrize("n", N_VALUES)
def test_a_threshold_that_was_asked_for_and_is_not_there_stops(cell, n):
    line = broken(cell, "scores/scr.json", put(f"eval_result_metrics/scr_metrics/scr_metric_threshold_{n}", None))
    assert f"scr_metric_threshold_{n} is null" in line


def test_a_pair_that_scr_left_out_has_no_row(cell):
    """Where two accuracies tie and the configuration lets it; the rule that scores has said so."""
    paths = write_cell(cell)
    content = json.loads((cell / "scores/scr.json").read_text())
    content["eval_result_details"][1]["scr_metric_threshold_20"] = None
    (cell / "scores/scr.json").write_text(json.dumps(content))
    found = values(collect(paths, STREAMS))
    assert f"scr.{DATASETS[0]}.scr_metric_threshold_20" in found
    assert f"scr.{DATASETS[1]}.scr_metric_threshold_20" not in found


@pytest.mark.parametrize("text", ["", "{", '{"eval_config": {}}', "[]", '"text"'])
@pytest.mark.parametrize("file", ["scores/tpp.json", "scores/ood.json", "scores/parents.json", "sae/quality.json"])
def test_a_broken_file_stops_with_its_path(cell, file, text):
    paths = write_cell(cell)
    (cell / file).write_text(text)
    with pytest.raises(InputError) as error:
        collect(paths, STREAMS)
    assert str(error.value).startswith(f"{cell / file}: ")
    assert "\n" not in str(error.value)


def test_a_missing_file_stops_with_its_path(cell):
    paths = write_cell(cell)
    (cell / "scores/scr.json").unlink()
    with pytest.raises(InputError, match=r"scr\.json: missing: ask Snakemake for it"):
        collect(paths, STREAMS)


def test_a_number_that_is_not_there_is_named_with_its_file(cell):
    scores = Scores(collect(write_cell(cell), STREAMS))
    assert scores.value(NEOX, "quality.l0") == 8.0
    with pytest.raises(
        InputError, match=r"tpp_threshold_500_total_metric of .*neox/mask30/topk/l0_8/seed_3/scores/tpp"
    ):
        scores.value(NEOX, "tpp.tpp_threshold_500_total_metric")
    with pytest.raises(InputError, match=r"no quality\.mean of .*neox/mask30/topk/l0_8/seed_3/sae/quality\.json"):
        scores.value(NEOX, "quality.mean")
    for other in ({"run": "other"}, {"model": "other"}, {"stream": "clean"}, {"trainer": "x"}, {"l0": 4}, {"seed": 4}):
        assert not scores.has(replace(NEOX, **other), "quality.l0"), other


@pytest.mark.parametrize("value", [8.0, 9.0])
def test_the_same_number_of_the_same_sae_twice_is_refused(cell, value):
    rows = collect(write_cell(cell), STREAMS)
    (row,) = [row for row in rows if row.metric == "quality.l0"]
    with pytest.raises(InputError, match=r"scores\.csv: the same number of the same SAE is in it twice"):
        Scores([*rows, replace(row, value=value)])
    # Another SAE's is no second one.
    assert Scores([*rows, replace(row, seed=4, value=value)]).value(NEOX, "quality.l0") == 8.0


def test_an_oracles_number_twice_is_refused_too():
    oracle = Row("tiny", "neox", "oracle", None, None, None, None, "oracle.auc", 0.8, "oracle.json")
    with pytest.raises(InputError, match="twice"):
        Scores([oracle, oracle])
    assert Scores([oracle, replace(oracle, model="other", value=0.9)]).oracle("neox") == 0.8
