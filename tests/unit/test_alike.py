"""Streams that are alike, three of one p and two that mask nothing: nothing that is shown takes one for another."""

import csv
import io
import json
import re
from contextlib import chdir
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from maskedsae.activations.settings import Stream
from maskedsae.experiment import outputs, settings
from maskedsae.inference.arms import ORACLE
from maskedsae.inference.contrasts import contrasts
from maskedsae.inference.decisions import assays, decide
from maskedsae.inference.paired import differences
from maskedsae.inference.published import read_published
from maskedsae.inference.settings import DifferenceSettings, TableSettings
from maskedsae.inference.verdicts import NOT_TESTED, claims, verdicts
from maskedsae.jobs.params import settings_of, spelled_out
from maskedsae.report.figures import draw as drawing
from maskedsae.report.html import table_html
from maskedsae.report.page import write_page
from maskedsae.report.records import Sae
from maskedsae.report.settings import FigureSettings, PageSettings
from maskedsae.report.style import label, looks
from maskedsae.report.tables import make_tables
from maskedsae.report.words import lead, warnings
from maskedsae.report.writers import to_csv, to_latex, to_markdown
from maskedsae.saes.cells import Cell
from maskedsae.scores.ood.rows import Scored, write_scores
from maskedsae.scores.settings import ScoresTableSettings
from maskedsae.scores.table import Scores
from reported import (
    ALIKE,
    ALIKE_NAMES,
    OWN,
    PAPER,
    ROOT,
    checked,
    drawn,
    number,
    page_of,
    rows_of,
    shown_of,
    write_run,
)

MODEL, L0S = "pythia-160m-deduped", (20, 40, 80, 160)
SHOWN, PUBLISHED = shown_of(ALIKE), read_published(ROOT / "reference")
P = {"mask0": 0, "budget30": 0.3, "del30": 0.3, "clean": 0, "mask30": 0.3}
LABELS = {
    "mask0": "masked, p = 0",
    "budget30": "masked, p = 0.3, clean context",
    "del30": "deleted, p = 0.3",
    "clean": "without masking",
    "mask30": "masked, p = 0.3",
}
LOOKS = looks(SHOWN.streams)
STREAM_OF = {look.light: name for name, look in LOOKS.items()}
METRICS = ("absorption", "explained_variance", "sparse_probing", "tpp", "scr")
BESIDE = ("absorption_fraction", "split_features", "best_latent")
SHOWN_METRICS = (METRICS[0], *BESIDE, *METRICS[1:])
PLACES = {name: place for place, name in enumerate(METRICS)} | {name: 10 + i for i, name in enumerate(BESIDE)}


def percent(stream: str, l0: float, place: int) -> float:
    """As tables and figures have it: absorption, full and fraction, as what is not absorbed; split features counted."""
    share = number(MODEL, P[stream], l0, 0, place, stream)
    if place == PLACES["split_features"]:
        return share
    return 100 * (1 - share if place in (PLACES["absorption"], PLACES["absorption_fraction"]) else share)


def achieved(stream: str, l0: int) -> float:
    return l0 / (1 - P[stream]) * (1 + OWN.get(stream, 0))


# Tables.


def tables(config: dict = ALIKE) -> dict:
    return make_tables(shown_of(config), Scores(rows_of(config)), PUBLISHED)


def test_a_row_a_stream_each_with_its_own_numbers():
    (table,) = tables()["by-l0"]
    methods = ["w/ Masking, mask0", "budget30", "del30", "w/o Masking", "w/ Masking, mask30"]
    rows = table.block("paper")
    assert [(row.metric, row.method) for row in rows] == [(metric, method) for metric in METRICS for method in methods]
    for row in rows:
        stream = ALIKE_NAMES[methods.index(row.method)]
        assert {entry.stream.name for entry in row.entries} == {stream}
        expected = [percent(stream, l0, METRICS.index(row.metric)) for l0 in L0S]
        assert [entry.mean for entry in row.entries] == pytest.approx(expected), row.method


def test_a_column_a_stream_each_with_its_own_numbers():
    (table,) = tables()["by-stream"]
    assert table.columns == tuple(ALIKE_NAMES)
    rows = table.block("paper") + table.block("further")
    assert [row.metric for row in rows] == [*METRICS[:2], *BESIDE, *METRICS[2:]]  # the paper's two first
    for row in rows:
        expected = [percent(stream, 20, PLACES[row.metric]) for stream in ALIKE_NAMES]
        assert [entry.mean for entry in row.entries] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["by-l0", "by-stream"])
def test_all_are_compared_with_the_stream_without_corruption_at_equal_l0(name):
    """Also the mask that masks nothing; and the baseline not with itself. At l0 = 160 all lie beyond the baseline's."""
    (table,) = tables()[name]
    found = {}
    for row in table.block("equal_l0"):
        for entry in row.entries:
            found[row.metric, entry.stream.name, entry.l0, row.signed] = entry.mean
    streams = [stream for stream in ALIKE_NAMES if stream != "clean" or name == "by-stream"]
    metrics, l0s = (METRICS, L0S) if name == "by-l0" else (METRICS[:2], (20,))
    metrics += ("absorption_fraction", "best_latent")  # and not a count, in which nothing gains points
    assert len(found) == 2 * len(metrics) * len(streams) * len(l0s)
    for (metric, stream, l0, gain), value in found.items():
        if stream == "clean" or l0 == 160:
            assert value is None
        else:
            place = PLACES[metric]
            baseline = percent("clean", achieved(stream, l0), place)  # which is linear in log l0
            assert value == pytest.approx(percent(stream, l0, place) - baseline if gain else baseline), (stream, l0)
    # What is not known is a dash, and nothing stands where nothing is compared.
    dashes = {"by-l0": 2 * len(metrics) * len(streams), "by-stream": 0}[name]
    assert len(re.findall(r"\| —(?= \|)", to_markdown([table]))) == dashes
    assert to_latex([table]).count(" & ---") == dashes
    assert table_html(table).count("<td>—</td>") == dashes


@pytest.mark.parametrize("name", ["by-l0", "by-stream"])
def test_the_papers_numbers_stand_beside_its_own_two_streams_only(name):
    made = tables()[name]
    rows = list(csv.DictReader(io.StringIO(to_csv(made))))
    beside = {row["stream"] for row in rows if row["published"]}
    assert beside == {"clean", "mask30"}
    assert {row["stream"]: float(row["p"]) for row in rows} == P
    if name == "by-l0":
        for text, paper in ((to_markdown(made), "*paper*"), (to_latex(made), "paper")):
            lines = [line.strip("|") for line in text.splitlines() if re.match(r"\|| +.* & ", line)]
            lines = [re.split("[|&]", line) for line in lines]
            above = [before[-5].strip() for before, line in pairwise(lines) if line[-5].strip().endswith(paper)]
            assert above == 5 * ["w/o Masking", "w/ Masking, mask30"]
    else:
        rows = [line.split("|")[2:-1] for line in to_markdown(made).splitlines() if line.startswith("| *paper*")]
        assert [[bool(text.strip()) for text in row] for row in rows] == 2 * [[False, False, False, True, True]]


# Figures.


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The working directory with a run; its drawn figures, open."""
    write_run(tmp_path, ALIKE)
    monkeypatch.chdir(tmp_path)
    return lambda name: drawing.figure(*drawn(ALIKE, name))


def curves(axes) -> dict[str, list[tuple[float, float]]]:
    """The points of each stream, by the colour that they have."""
    found = {}
    for line in axes.get_lines():
        if line.get_color() in STREAM_OF and line.get_marker() not in ("None", None, ""):
            found.setdefault(STREAM_OF[line.get_color()], []).extend(line.get_xydata().tolist())
    return {stream: sorted(map(tuple, points)) for stream, points in found.items()}


def equal(found: dict, expected: dict) -> bool:
    assert found.keys() == expected.keys()
    return all(np.asarray(found[key]) == pytest.approx(np.asarray(expected[key])) for key in expected)


def test_each_has_a_colour_and_a_marker_of_its_own_and_the_papers_keep_theirs():
    assert len({look.light for look in LOOKS.values()}) == len({look.dark for look in LOOKS.values()}) == 5
    assert len({look.marker for look in LOOKS.values()}) == 5
    assert [name for name, look in LOOKS.items() if look.baseline] == ["clean"]
    papers = looks(shown_of(PAPER).streams)
    assert {name: LOOKS[name] for name in ("clean", "mask30")} == {name: papers[name] for name in ("clean", "mask30")}


@pytest.mark.parametrize("name", ["achieved_l0", "metrics_nominal", "auc_by_k", "ood_datasets", "training"])
def test_a_legend_tells_them_apart(run, name):
    (legend,) = run(name).legends
    handles = zip(legend.get_texts(), legend.legend_handles, strict=True)
    named = {text.get_text(): STREAM_OF.get(line.get_color()) for text, line in handles}
    assert {text: stream for text, stream in named.items() if stream} == {text: name for name, text in LABELS.items()}


def test_two_that_are_the_same_in_words_have_their_names_in_the_legend():
    twin = ALIKE | {"streams": [*ALIKE["streams"], {"name": "again30", "p": 0.3}]}
    shown = shown_of(twin)
    found = drawing.Grid(Scores([]), shown, shown.trainers[0])
    labels = {stream.name: found.label(stream) for stream in shown.streams}
    own = {"mask30": "masked, p = 0.3 (mask30)", "again30": "masked, p = 0.3 (again30)"}
    assert labels == LABELS | own
    assert len({look.light for look in found.looks.values()}) == 6


def test_every_setting_of_a_stream_is_in_its_words():
    mask = {"kind": "mask", "p": 0.3, "string": " ..."}
    entries = {
        "masked, p = 0.3, string = “ ...”": {"corruption": mask},
        "masked word by word, p = 0.3": {"corruption": {"kind": "mask_words", "p": 0.3}},
        "replaced, p = 0, its effect as noise, untouched rows": {
            "corruption": {"kind": "replace", "p": 0},
            "context": "noise",
            "rows": "untouched",
        },
    }
    streams = [Stream.from_plain({"name": f"s{number}"} | entry) for number, entry in enumerate(entries.values())]
    assert [label(stream, streams) for stream in streams] == list(entries)


def test_curves_are_of_their_own_stream(run):
    panels = run("metrics_nominal").axes
    for panel, metric in zip(panels, SHOWN_METRICS, strict=False):  # then Gemma's
        expected = {name: [(l0, percent(name, l0, PLACES[metric])) for l0 in L0S] for name in ALIKE_NAMES}
        assert equal(curves(panel), expected)
    assert equal(
        curves(run("achieved_l0").axes[0]), {name: [(l0, achieved(name, l0) / l0) for l0 in L0S] for name in P}
    )
    ks = ALIKE["ood"]["ks"]
    aucs = {name: number(MODEL, P[name], 20, 0, 9, name) for name in ALIKE_NAMES}
    assert equal(curves(run("auc_by_k").axes[0]), {name: [(k, aucs[name] - 0.1 / k) for k in ks] for name in P})
    found = curves(run("ood_datasets").axes[0])
    assert equal(
        {name: [x for x, _ in points] for name, points in found.items()},
        {name: [aucs[name] + 0.01 * place for place in range(1, 9)] for name in P},
    )
    losses = {STREAM_OF[line.get_color()]: [] for line in run("training").axes[0].get_lines()}
    for line in run("training").axes[0].get_lines():
        losses[STREAM_OF[line.get_color()]].append(line.get_ydata()[0])
    assert equal(losses, {name: [number(MODEL, P[name], l0, 0, 0, name) for l0 in L0S] for name in P})


def test_what_decides_shows_each_at_its_own_l0(run):
    """The legend says which arm a stream is."""
    figure = run("decides")
    expected = {name: [(achieved(name, l0), percent(name, l0, 1)) for l0 in L0S] for name in P}
    assert equal(curves(figure.axes[2]), expected)
    (legend,) = figure.legends
    handles = zip(legend.get_texts(), legend.legend_handles, strict=True)
    named = {STREAM_OF[line.get_color()]: text.get_text() for text, line in handles}
    assert named == {name: text for text, name in zip(LABELS.values(), LABELS, strict=True)} | {
        "budget30": "budget (masked, p = 0.3)"
    }


def test_what_masked_tokens_leave_to_others_is_drawn_of_the_papers_masks_only(run):
    lines = [line for line in run("achieved_l0").axes[0].get_lines() if line.get_linestyle() == ":"]
    found = {STREAM_OF[line.get_color()]: line.get_ydata()[0] for line in lines}
    assert found == {"mask0": 1, "clean": 1, "mask30": pytest.approx(1 / 0.7)}


def test_bars_have_their_own_names_heights_and_gains(run):
    axes = run("figure1").axes[0]
    words = [text.get_text() for text in axes.get_xticklabels()]
    assert words == [
        "masked, p = 0\n+0.011 [\u22120.009, +0.031]",
        "masked, p = 0.3, clean\ncontext\n+0.047 [+0.027, +0.067]",
        "deleted, p = 0.3\n+0.053 [+0.033, +0.073]",
        "without masking\n",
        "masked, p = 0.3\n+0.030 [+0.010, +0.050]",
    ]
    assert [bar.get_facecolor() for bar in axes.patches] == [to_rgba(LOOKS[name].light) for name in ALIKE_NAMES]
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops == pytest.approx([number(MODEL, P[name], 20, 0, 9, name) for name in ALIKE_NAMES])


def test_points_of_the_tradeoff_have_their_own_names(run):
    for axes in run("tradeoff").axes:
        points = {(text.xy[0], text.xy[1]): text.get_text().split("\n") for text in axes.texts}
        assert {tuple(words) for words in points.values()} == {
            (name, f"l0 {achieved(name, 20):.1f}") for name in ALIKE_NAMES
        }
        for (x, y), (name, _) in points.items():
            assert (x, y) == pytest.approx((percent(name, 20, 1), percent(name, 20, 0)))
            assert curves(axes)[name] == [(x, y)]
        (joined,) = [line.get_xydata() for line in axes.get_lines() if len(line.get_xdata()) > 1]
        expected = [(percent(name, 20, 1), percent(name, 20, 0)) for name in ("mask0", "clean", "mask30")]
        assert joined[np.argsort(joined[:, 0])] == pytest.approx(np.array(sorted(expected)))


# Claims and differences.


def judged(config: dict) -> tuple[dict, set[str]]:
    """The verdicts; and the streams that they are about."""
    shown, scores = shown_of(config), Scores(rows_of(config))
    asked = [question for claim in claims(shown, PUBLISHED) for question in claim.questions]
    rows = contrasts(shown, scores, asked)
    found = verdicts(shown, PUBLISHED, rows, decide(shown, rows, assays(shown, scores)))
    return {verdict.id: verdict for verdict in found}, {term.stream for question in asked for term in question.terms}


def test_claims_are_of_the_papers_own_two_streams():
    found, asked = judged(ALIKE)
    assert asked == {"clean", "mask30", ORACLE}
    for claim, metric in (("tpp-pythia-20", 3), ("absorption-pythia", 0), ("probing-pythia-20", 2)):
        (difference,) = found[claim].differences
        assert difference.ours == pytest.approx(percent("mask30", 20, metric) - percent("clean", 20, metric))
    assert found["ood-pythia"].differences[0].ours == pytest.approx(3)
    everywhere = [difference.ours for difference in found["scr-everywhere-pythia"].differences]
    assert everywhere == pytest.approx([3, 3, 3, 3])


@pytest.mark.parametrize(("lost", "p"), [("clean", "0"), ("mask30", "0.3")])
def test_no_other_stream_stands_in_for_one_of_them(lost, p):
    names = [name for name in ALIKE_NAMES if name != lost]
    streams = [stream for stream in ALIKE["streams"] if stream["name"] != lost]
    config = ALIKE | {"streams": streams, "tables": [table | {"streams": names} for table in ALIKE["tables"]]}
    found, asked = judged(config)
    assert asked == (set() if lost == "clean" else {"clean"})
    for claim in ("tpp-pythia-20", "absorption-pythia", "ood-pythia"):
        assert found[claim].verdict == NOT_TESTED
        assert found[claim].why == f"no stream of this run masks as the paper at p = {p}"


def test_differences_are_taken_from_the_stream_without_corruption(tmp_path):
    """The mask that masks nothing is compared with it, and is none itself."""
    rng, labels = np.random.default_rng(0), np.arange(60) % 2
    aucs, paths = {}, []
    for name in ALIKE_NAMES:
        path = tmp_path / Cell("paper", MODEL, name, "matryoshka_batch_topk", 20, 0).folder / "scores/ood_rows.csv"
        path.parent.mkdir(parents=True)
        sets = [(dataset, test) for dataset in "ab" for test in ("ood", "in_distribution")]
        scored = [Scored(*key, np.arange(60), labels, labels + rng.normal(size=60)) for key in sets]
        aucs[name] = np.mean([each.auc for each in scored if each.test == "ood"])
        write_scores(path, scored)
        paths.append(str(path))
    found = differences(paths, settings.difference_settings(checked(ALIKE)))
    assert [(entry["stream"], entry["less"]) for entry in found] == [
        (name, "clean") for name in ALIKE_NAMES if name != "clean"
    ]
    for entry in found:
        assert entry["ood"]["mean"] == pytest.approx(aucs[entry["stream"]] - aucs["clean"])
        assert entry["sources"] == [paths[ALIKE_NAMES.index(entry["stream"])], paths[ALIKE_NAMES.index("clean")]]


# The page.


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    with chdir(tmp_path_factory.mktemp("page")):
        write_run(Path(), ALIKE)
        write_page(*page_of(ALIKE, ()), "report.html")
        return Path("report.html").read_text()


def test_the_page_says_what_each_is(page):
    first = re.search(r'<p class="lead">.*?</p>\s*<p>(.*?)</p>', page, re.DOTALL)[1]
    assert first.startswith(
        "20 sparse autoencoders, on activations of pythia-160m-deduped, trained without masking, with a "
        "share p of the tokens replaced by “...” (p = 0 and 0.3), on “budget30” (masked, p = 0.3, clean context) or on "
        "“del30” (deleted, p = 0.3)."
    )


def test_the_page_names_no_model_or_stream_that_was_not_read():
    saes = [
        Sae(Cell("paper", MODEL, name, "t", 20, 0), {"l0": 20.0, "nominal_l0": 20}, {}) for name in ("clean", "del30")
    ]
    assert lead(saes, SHOWN).startswith(
        "2 sparse autoencoders, on activations of pythia-160m-deduped, trained without masking or on "
        "“del30” (deleted, p = 0.3)."
    )


def test_the_page_says_where_a_nominal_l0_is_only_a_name():
    cells = [Cell("paper", MODEL, "clean", trainer, 20, 0) for trainer in ("gated", "topk")]
    named, aims = (
        Sae(cell, {"l0": 20.0 + n, "nominal_l0": 20}, {}, n == 0) for n, cell in ((90, cells[0]), (0, cells[1]))
    )
    assert lead([named, aims], SHOWN).endswith(
        "1 of them aim at no l0: the nominal one is only the name of a penalty. Each other has its nominal l0 on clean "
        "text, within 5%."
    )
    assert lead([named], SHOWN).endswith("They aim at no l0: the nominal one is only the name of a penalty.")
    assert not named.off_by_much


def test_a_warning_tells_trainers_and_seeds_apart():
    saes = [
        Sae(
            Cell("paper", MODEL, "clean", trainer, 20, seed),
            {"l0": l0, "nominal_l0": 20, "dead_latents": 0, "latents": 9},
            {"revision": "a"},
        )
        for trainer, seed, l0 in (("gated", 0, 51.1), ("standard", 1, 45.5))
    ]
    assert warnings(saes)[0].endswith(
        f"2 of 2 SAEs: {MODEL} clean gated l0 20 seed 0 (51.1) and {MODEL} clean standard l0 20 seed 1 (45.5)."
    )


def test_marks_on_the_page_have_the_figures_colours_and_stand_beside_the_right_names(page):
    light, dark = (
        dict(re.findall(r"--(stream\d): (#\w{6});", block)) for block in re.findall(r":root {.*?}", page)[-2:]
    )
    assert list(light.values()) == [LOOKS[name].light for name in ALIKE_NAMES]
    assert list(dark.values()) == [LOOKS[name].dark for name in ALIKE_NAMES]
    marks = re.findall(r"background:var\(--(stream\d)\)\"></span>([^<]*)</td>", page)
    expected = {(f"stream{place}", LABELS[name]) for place, name in enumerate(ALIKE_NAMES)}
    assert set(marks) == expected
    # A row of differences for each SAE but the baseline's, and three for each SAE: on clean text, on scores' texts, and
    # its audit.
    assert len(marks) == 16 + 3 * 20
    every = set(range(len(ALIKE_NAMES)))
    for name, svg in re.findall(r'<figure id="(\w+)".*?(<svg.*?</svg>)', page, re.DOTALL):
        shown = {ALIKE_NAMES.index(name) for name in ("mask0", "mask30")} if name == "taken_apart" else every
        assert {f"stream{place}" for place in shown} <= set(re.findall(r"var\(--(\w+)\)", svg)), name


def test_numbers_on_the_page_stand_beside_the_right_names(page):
    """Gains of differences, and the l0 that each SAE has."""
    rows = re.findall(r"</span>([^<]*)</td><td>20</td>\s*<td class=\"number\">([^<]*)</td>", page)
    expected = {name: f"{0.1 * P[name] + OWN.get(name, 0):+.3f}" for name in ALIKE_NAMES if name != "clean"}
    assert dict(rows) == {LABELS[name]: gain for name, gain in expected.items()}
    saes = re.findall(r"</span>([^<]*)</td>\s*<td>20</td><td>([\d.]+)</td>", page)
    assert dict(saes) == {LABELS[name]: f"{achieved(name, 20):.1f}" for name in ALIKE_NAMES}


# Settings, as rules hand them to their scripts.


def test_settings_come_through_params_as_they_are():
    configuration = checked(ALIKE)
    figures = outputs.figures(configuration)
    steps = outputs.steps(configuration, [], "benchmarks/{{run}}/{}.tsv".format)
    made = {
        TableSettings: settings.table_settings(configuration),
        ScoresTableSettings: settings.scores_table_settings(configuration),
        DifferenceSettings: settings.difference_settings(configuration),
        FigureSettings: settings.figure_settings(configuration, figures[0]),
        PageSettings: settings.page_settings(configuration, figures, steps, json.loads(json.dumps(ALIKE))),
    }
    for kind, given in made.items():
        assert settings_of(kind, spelled_out(given)) == given
