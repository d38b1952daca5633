"""SAEs that the grid did not train: their rows and table, ours less what others published, the figure and the page."""

import csv
import json
from contextlib import chdir
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from test_figures import open_figure

from maskedsae.experiment.grid import measured_files, published_scores
from maskedsae.experiment.settings import card_settings, contrast_settings, published_settings
from maskedsae.inference.contrasts import contrasts
from maskedsae.jobs.errors import InputError
from maskedsae.report import listing
from maskedsae.report.imported import REDEFINED, imported_listing, published_listing
from maskedsae.report.page import write_page
from maskedsae.report.style import MUTED
from maskedsae.saes.cells import Imported, sae_of
from maskedsae.scores.saebench.published import write_published
from maskedsae.scores.table import Row, Scores, collect, read_rows, write_rows
from reported import FAMILY, IMPORTED, PAPER, checked, figure, page_of, rows_of, shown_of, write_run
from scored import write_cell

GEMMA = "gemma-2-2b"
WITH_SAES = PAPER | {"saes": IMPORTED}
ALONE = WITH_SAES | {"tables": []}  # nothing is trained
ONE = Imported("paper", GEMMA, "one")


def with_one(**changes) -> dict:
    entry = {"name": "one", "model": GEMMA, "from": {"folder": "elsewhere"}} | changes
    return deepcopy(PAPER) | {"saes": [entry], "tables": []}


def values(rows) -> dict[str, float]:
    return {row.metric: row.value for row in rows}


# Rows.


def test_its_rows_have_its_name_for_a_trainer_and_no_p_l0_or_seed(tmp_path):
    files = write_cell(tmp_path / ONE.folder, absorption=0.125)
    rows = collect(files, ())
    place = {(row.run, row.model, row.stream, row.p, row.trainer, row.l0, row.seed) for row in rows}
    assert place == {("paper", GEMMA, "imported", None, "one", None, None)}
    assert {row.cell for row in rows} == {None}
    write_rows(tmp_path / "scores.csv", rows)
    assert read_rows(tmp_path / "scores.csv") == rows
    scores = Scores(rows)
    assert scores.value(ONE, "absorption.mean_full_absorption_score") == 0.125
    with pytest.raises(InputError, match=r"no tpp\.nothing of results/paper/gemma-2-2b/imported/one/scores/tpp\.json"):
        scores.value(ONE, "tpp.nothing")


def test_scores_csv_is_made_of_the_configured_ones():
    files = measured_files(checked(with_one()), [ONE])
    assert {sae_of(file) for file in files} == {ONE}
    assert f"{ONE.folder}/sae/quality.json" in files
    assert f"{ONE.folder}/scores/ood.json" in files


def test_no_contrast_is_about_them_and_they_change_none():
    with_saes, without = (
        [str(row) for row in contrasts(shown_of(config), Scores(rows_of(config)), ())] for config in (WITH_SAES, PAPER)
    )
    assert len(without) > 100
    assert with_saes == without
    # Nor are the contrasts made again for another imported SAE, nor the card of SAEs that are sent.
    for made in (contrast_settings, card_settings):
        assert made(checked(WITH_SAES)) == made(checked(PAPER))


# The table `imported`.


def test_the_table_has_a_row_for_each_with_its_measured_l0_and_every_score():
    made = imported_listing(shown_of(WITH_SAES), Scores(rows_of(WITH_SAES)))
    assert [(row.model, row.sae) for row in made.rows] == [(entry["model"], entry["name"]) for entry in IMPORTED]
    metrics = shown_of(WITH_SAES).report.all_metrics
    assert made.heads == (
        *("l0 on clean text", "Explained Variance on clean text"),
        *(metric.label for metric in metrics),
        "OOD AUC",
    )
    first = dict(zip(made.heads, made.rows[1].numbers, strict=True))
    numbers = values(row for row in rows_of(WITH_SAES) if row.trainer == IMPORTED[1]["name"])
    assert first["l0 on clean text"] == "42.0"
    assert first["Explained Variance on clean text"] == "80.100"
    assert first["Mean Full Absorption"] == f"{100 * (1 - numbers['absorption.mean_full_absorption_score']):.3f}"
    assert first["Split Features"] == f"{numbers['absorption.mean_num_split_features']:.3f}"
    assert first["OOD AUC"] == f"{100 * numbers['ood.auc']:.3f}"


def test_its_csv_has_the_columns_of_the_papers_tables_and_names_each_file():
    made = imported_listing(shown_of(WITH_SAES), Scores(rows_of(WITH_SAES)))
    lines = list(csv.DictReader(listing.to_csv(made).splitlines()))
    assert len(lines) == len(IMPORTED) * len(made.heads)
    (line,) = [line for line in lines if (line["trainer"], line["metric"]) == ("pca", "TPP")]
    assert line["sources"] == "results/paper/gemma-2-2b/imported/pca/scores/tpp.json"
    assert (line["stream"], line["p"], line["l0"], line["printed"]) == ("imported", "", "", line["printed"])
    assert f"{float(line['value']):.3f}" == line["printed"]


def test_an_eval_that_was_not_asked_for_is_named_and_not_silently_left_out():
    config = deepcopy(WITH_SAES) | {"tables": []}
    config["saebench"] = config["saebench"] | {"evals": ["core", "tpp"]}
    config["analysis"]["endpoints"] = dict.fromkeys(config["analysis"]["endpoints"])
    made = imported_listing(shown_of(config), Scores(rows_of(config)))
    assert "SCR" not in made.heads
    assert "TPP" in made.heads
    lacking = "Mean Full Absorption, Absorption Fraction, Split Features, Best Single Latent, Sparse Probing, SCR"
    assert f"Not asked for (saebench.evals): {lacking}." in made.notes


def test_a_score_that_was_asked_for_and_is_missing_is_an_error():
    rows = [row for row in rows_of(WITH_SAES) if (row.trainer, row.metric) != ("pca", "ood.auc")]
    with pytest.raises(InputError, match=r"no ood\.auc of .*imported/pca/scores/ood\.json"):
        imported_listing(shown_of(WITH_SAES), Scores(rows))


def test_the_demo_is_marked_in_every_form():
    made = imported_listing(replace(shown_of(WITH_SAES), demo=True), Scores(rows_of(WITH_SAES)))
    for write in (listing.to_csv, listing.to_markdown, listing.to_latex):
        assert "no evidence about the paper" in write(made)


# What others published.


class Run:
    """One SAE whose scores are real result files, ours and theirs, in the working directory."""

    def __init__(self, **ours: float):
        self.files = write_cell(Path(ONE.folder), **ours)

    def publish(self, **theirs: float) -> Path:
        write_cell(Path("their-cell"), **theirs)
        folder = Path("theirs/suite")
        folder.mkdir(parents=True)
        for name in ("absorption", "core", "sparse_probing", "tpp", "scr"):
            Path("their-cell/scores", f"{name}.json").rename(folder / f"x_{name}_eval_results.json")
        return folder

    def config(self) -> dict:
        return with_one(published={"path": "theirs"})

    def read(self) -> None:
        config = checked(self.config())
        files = sorted(map(str, Path("theirs").rglob("*_eval_results.json")))
        write_published(ONE.folder / "published.json", files, published_settings(config, "one"))

    def listing(self) -> listing.Listing:
        files = published_scores(checked(self.config()))
        return published_listing(shown_of(self.config()), Scores(collect(self.files, ())), files)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Run


def test_ours_less_theirs_of_each_number_that_both_have(run):
    made = run(absorption=0.25, legacy=0.75, scr=0.2)
    made.publish(absorption=0.20, legacy=0.70, scr=0.25)
    made.read()
    found = made.listing()
    ours, theirs = (dict(zip(found.heads, row.numbers, strict=True)) for row in found.rows)
    assert [row.published for row in found.rows] == [False, True]
    assert ours["Mean Full Absorption"] == "75.000"
    assert theirs["Mean Full Absorption"] == "80.000 (-5.000)"  # a larger score of absorption is worse
    assert theirs["SCR"] == "25.000 (-5.000)"
    assert theirs["l0 in core"] == "9.0 (0.0)"
    lines = {line["metric"]: line for line in csv.DictReader(listing.to_csv(found).splitlines())}
    assert float(lines["absorption.mean_full_absorption_score"]["difference"]) == pytest.approx(0.05)
    line = lines["core.explained_variance_legacy"]
    assert (float(line["ours"]), float(line["published"])) == (0.75, 0.7)
    assert (line["source"], line["published_source"]) == (
        "results/paper/gemma-2-2b/imported/one/scores/core.json",
        "theirs/suite/x_core_eval_results.json",
    )
    assert "absorption.a.full_absorption_rate" in lines
    assert not [metric for metric in lines if metric.split(".")[0] in ("ood", "quality", "l0")]
    assert found.warnings == (REDEFINED,)


def change(path: Path, **changes) -> None:
    content = json.loads(path.read_text())
    for key, value in changes.items():
        place = content["eval_config"] if key in content["eval_config"] else content
        place[key] = value
    path.write_text(json.dumps(content))


def test_settings_in_which_they_differ_are_named_before_the_numbers(run):
    made = run()
    folder = made.publish()
    change(folder / "x_tpp_eval_results.json", train_set_size=1234, sae_lens_version="5.3.0")
    made.read()
    found = made.listing()
    _, said = found.warnings
    ours = json.loads((Path(ONE.folder) / "scores/tpp.json").read_text())["eval_config"]["train_set_size"]
    assert said == (
        "Other settings than ours in tpp: sae_lens_version (ours none, theirs 5.3.0), "
        f"train_set_size (ours {ours}, theirs 1234)."
    )
    text = listing.to_markdown(found)
    assert text.index(f"**{said}**") < text.index("| Model |")
    lines = list(csv.DictReader(listing.to_csv(found).splitlines()))
    assert {bool(line["unlike"]) for line in lines if line["metric"].startswith("tpp.")} == {True}
    assert {bool(line["unlike"]) for line in lines if line["metric"].split(".")[0] in ("core", "scr")} == {False}


def test_absorption_fractions_are_two_quantities_and_stand_without_a_difference(run):
    made = run(absorption=0.25, fraction=0.016)
    made.publish(absorption=0.20, fraction=0.155)
    made.read()
    found = made.listing()
    ours, theirs = (dict(zip(found.heads, row.numbers, strict=True)) for row in found.rows)
    assert (ours["Absorption Fraction"], theirs["Absorption Fraction"]) == ("98.400", "84.500")
    text = listing.to_markdown(found)
    assert text.index("**The absorption fraction stands without a difference") < text.index("| Model |")
    lines = {line["metric"]: line for line in csv.DictReader(listing.to_csv(found).splitlines())}
    apart = [name for name, line in lines.items() if not line["difference"]]
    means = ["mean_absorption_fraction_score", "std_dev_absorption_fraction_score"]
    fractions = [*means, "a.mean_absorption_fraction", "b.mean_absorption_fraction"]
    assert sorted(apart) == sorted(f"absorption.{name}" for name in fractions)
    assert {lines[name]["unlike"] for name in apart} == {"redefined in SAEBench 0.4.1"}


def test_an_mse_over_other_batches_and_a_number_that_is_none_have_no_difference(run):
    made = run()
    path = made.publish() / "x_core_eval_results.json"
    content = json.loads(path.read_text())
    content["eval_result_metrics"]["model_behavior_preservation"]["kl_div_score"] = -1
    path.write_text(json.dumps(content))
    made.read()
    assert apart_in_core(made) == {"core.kl_div_score": "-1 is how SAEBench writes NaN"}
    change(path, batch_size_prompts=8)
    made.read()
    found = apart_in_core(made)
    assert found.keys() == {"core.kl_div_score", "core.mse"}
    assert found["core.mse"].startswith(
        "divided by the number of tokens in a batch, which differs; batch_size_prompts ("
    )


def apart_in_core(run: Run) -> dict[str, str]:
    lines = csv.DictReader(listing.to_csv(run.listing()).splitlines())
    return {
        line["metric"]: line["unlike"]
        for line in lines
        if line["metric"].startswith("core.") and not line["difference"]
    }


def test_an_old_files_explained_variance_is_compared_with_the_legacy_formula(run):
    made = run(saebench=0.99, legacy=0.75)
    path = made.publish(saebench=0.7) / "x_core_eval_results.json"
    content = json.loads(path.read_text())
    del content["eval_result_metrics"]["reconstruction_quality"]["explained_variance_legacy"]
    path.write_text(json.dumps(content))
    made.read()
    found = made.listing()
    lines = {line["metric"]: line for line in csv.DictReader(listing.to_csv(found).splitlines())}
    assert float(lines["core.explained_variance_legacy"]["difference"]) == pytest.approx(0.05)
    assert "core.explained_variance" not in lines
    assert "now calls legacy" in found.warnings[-1]


def test_what_is_not_published_is_named(run):
    made = run()
    (made.publish() / "x_scr_eval_results.json").unlink()
    made.read()
    found = made.listing()
    assert "SCR" not in found.heads
    assert "Not asked for here, or not published: SCR." in found.notes
    # From the hub: with the file that was looked for.
    path = ONE.folder / "published.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"scr": {"not_there": "someone/results@c0ffee:scr/x.json"}})
    )
    assert "Not on the hub: someone/results@c0ffee:scr/x.json." in made.listing().notes


def test_published_files_that_cannot_be_meant_are_refused(run):
    made = run()
    folder = made.publish()
    (folder / "y_eval_results.json").write_bytes((folder / "x_tpp_eval_results.json").read_bytes())
    with pytest.raises(InputError, match=r"saes: one: published\.path: two files are results of tpp .*name a folder"):
        made.read()
    (folder / "y_eval_results.json").write_text("{}")
    with pytest.raises(InputError, match=r"y_eval_results\.json: is no result file of SAEBench"):
        made.read()
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"published\.path: theirs has no result of absorption, core"):
        made.read()


@pytest.mark.parametrize(
    "published",
    [{}, {"path": "a", "repository": "b/c"}, {"repository": "b/c", "folder": "d"}, {"path": "a", "revision": "main"}],
)
def test_published_scores_are_a_path_or_a_place_on_the_hub(published):
    message = r"saes.*published: give either path, or repository, folder and sae"
    with pytest.raises(InputError, match=message):
        checked(with_one(published=published))


def test_published_scores_without_an_eval_are_refused():
    config = with_one(published={"path": "theirs"})
    config["saebench"] = config["saebench"] | {"evals": []}
    config["analysis"]["endpoints"] = dict.fromkeys(config["analysis"]["endpoints"])
    message = "saes: one: published needs an eval, and saebench.evals is empty: name one there, or leave out published"
    with pytest.raises(InputError, match=message):
        checked(config)


def test_tables_may_not_have_the_names_of_these():
    table = {"name": "imported", "model": GEMMA, "streams": ["clean"], "l0": None}
    with pytest.raises(InputError, match="tables: imported is a name that results/ uses itself"):
        checked(PAPER | {"tables": [table]})


# The figure and the page.


def grey(axes) -> list[tuple[list[float], list[float]]]:
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines() if line.get_color() == MUTED]


def test_the_figure_has_each_at_its_measured_l0_a_group_as_one_curve(tmp_path, monkeypatch):
    write_run(tmp_path, WITH_SAES)
    monkeypatch.chdir(tmp_path)
    shown = shown_of(WITH_SAES)
    drawn = open_figure(WITH_SAES, "decides")
    titles = [axes.get_title("left") for axes in drawn.axes]
    place = titles.index("Mean Full Absorption")
    ((l0s, scores),) = grey(drawn.axes[place])  # of the first model: one group
    assert l0s == [21.0 * 2**i for i in range(6)]
    rows = [row for row in rows_of(WITH_SAES) if row.stream == "imported" and row.model == shown.models[0].name]
    key = "absorption.mean_full_absorption_score"
    assert scores == pytest.approx([100 * (1 - row.value) for row in rows if row.metric == key])
    second = titles.index("Mean Full Absorption", place + 1)
    assert [len(l0s) for l0s, _ in grey(drawn.axes[second])] == [6, 1]  # a group, and PCA alone
    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert names[-2:] == [FAMILY, "pca"]


def test_a_run_of_imported_saes_alone_has_the_figure_and_the_page(tmp_path):
    write_run(tmp_path, ALONE)
    with chdir(tmp_path):
        figure(ALONE, "decides", [Path("decides.svg")])
        write_page(*page_of(ALONE, ()), "report.html")
        page = Path("report.html").read_text()
    for words in (
        "13 imported sparse autoencoders",
        "someone/saes at c0ffee",
        "ae.pt: sha256 ab12",
        "folded in: decoder",
    ):
        assert words in page
    assert 'href="#imported"' in page
    assert 'href="#curves"' not in page
    assert "<svg" in page


def test_one_number_of_one_sae_twice_is_refused():
    row = Row("paper", GEMMA, "imported", None, "one", None, None, "ood.auc", 0.5, "a")
    with pytest.raises(InputError, match="twice"):
        Scores([row, row])
