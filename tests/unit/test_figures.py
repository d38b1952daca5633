"""Figures: what is drawn is what the scores say, what is missing is named, and the same scores give the same bytes."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskedsae.activations.settings import Stream
from maskedsae.experiment import outputs
from maskedsae.inference.contrasts import read_contrasts
from maskedsae.jobs.errors import InputError
from maskedsae.report import contents, tables
from maskedsae.report.figures import draw as drawing
from maskedsae.report.figures.training import read_curves
from maskedsae.report.settings import DrawnFigure
from maskedsae.report.style import OTHERS, SHADES, looks
from maskedsae.scores.table import read_rows, write_rows
from reported import DEMO, PAPER, ROOT, TWO, checked, differences_of, drawn, figure, number, shown_of, write_run

FIGURES = sorted(contents.FIGURES.keys() - {"convergence"})  # which needs two trainers
SEEDS = {"seeds": [0, 1, 2]}
LOOKS = looks(shown_of(PAPER).streams)
ABSORPTION = "absorption.mean_full_absorption_score"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The working directory with a run of this configuration; its drawn figures, open."""

    def made(config: dict = PAPER):
        write_run(tmp_path, config)
        monkeypatch.chdir(tmp_path)
        return lambda name: open_figure(config, name).axes

    return made


def open_figure(config: dict, name: str):
    return drawing.figure(*drawn(config, name))


def curve(axes, stream: str) -> tuple[list[float], list[float]]:
    """x and y of the points in a stream's colour, in order of x."""
    colour = LOOKS[stream].light
    lines = [line for line in axes.get_lines() if line.get_color() == colour and line.get_marker() != "None"]
    points = sorted((x, y) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True))
    return [x for x, _ in points], [y for _, y in points]


def dotted(axes, stream: str) -> list:
    colour = LOOKS[stream].light
    return [line for line in axes.get_lines() if line.get_linestyle() == ":" and line.get_color() == colour]


def of_model(model: str, p: float, l0s: list[int], place: int) -> list[float]:
    return [100 * number(model, p, l0, 0, place) for l0 in l0s]


def test_figure_1_has_the_papers_two_bars_the_oracle_and_the_gain(run):
    for axes, model in zip(run()("figure1"), ("pythia-160m-deduped", "gemma-2-2b"), strict=True):
        tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
        assert tops == pytest.approx([number(model, p, 20, 0, 9) for p in (0, 0.3)])
        assert 0.8 in [line.get_ydata()[0] for line in axes.get_lines()]
        assert axes.get_title("left") == f"{model}, l0 = 20"
        without, masked = [label.get_text() for label in axes.get_xticklabels()]
        assert without.strip() == "without masking"
        assert masked == "masked, p = 0.3\n+0.030 [+0.010, +0.050]"


def test_error_bars_are_intervals_for_one_seed_and_standard_deviations_for_several(run, tmp_path):
    def bars(axes):
        segments = [c.get_segments() for c in axes.collections if len(c.get_segments()) == 1]
        return [segment[0][:, 1].tolist() for segment in segments]

    mean = number("gemma-2-2b", 0.3, 20, 0, 9)
    assert bars(run()("figure1")[1])[1] == pytest.approx([mean - 0.02, mean + 0.02])
    (tmp_path / "results/paper").rename(tmp_path / "one-seed")
    values = [number("gemma-2-2b", 0.3, 20, seed, 9) for seed in range(3)]
    low, high = np.mean(values) - np.std(values, ddof=1), np.mean(values) + np.std(values, ddof=1)
    assert bars(run(PAPER | SEEDS)("figure1")[1])[1] == pytest.approx([low, high])


def test_small_multiples_have_every_metric_of_every_stream_at_nominal_l0(run):
    axes = run()("metrics_nominal")
    assert [panel.get_title("left") for panel in axes[:9]] == [
        *("Mean Full Absorption", "Absorption Fraction", "Split Features", "Best Single Latent"),
        *("Explained Variance", "Sparse Probing", "TPP", "SCR", "OOD AUC"),
    ]
    l0s = [20, 40, 80, 160]
    for first, model in ((0, "pythia-160m-deduped"), (9, "gemma-2-2b")):
        for panel, place in ((0, 0), (1, 10)):  # absorption: the share of the others
            x, y = curve(axes[first + panel], "mask30")
            assert x == l0s
            assert y == pytest.approx([100 - value for value in of_model(model, 0.3, l0s, place)])
        counted = curve(axes[first + 2], "clean")[1]
        assert counted == pytest.approx([value / 100 for value in of_model(model, 0, l0s, 11)])
        for panel, place in ((3, 12), (4, 1), (5, 2), (6, 3), (7, 4), (8, 9)):
            assert curve(axes[first + panel], "clean")[1] == pytest.approx(of_model(model, 0, l0s, place))
    assert curve(axes[1], "mask50")[0] == [20]
    assert curve(axes[10], "mask50")[0] == []  # no table shows it for Gemma


def test_what_decides_is_drawn_at_the_l0_that_they_have(run):
    """The paper's models below each other; a mean without an interval, of one seed."""
    panels = run()("decides")
    x, y = curve(panels[2], "mask30")
    assert panels[2].get_title("left") == "Explained Variance"
    assert x == pytest.approx([20 / 0.7, 40 / 0.7, 80 / 0.7, 160 / 0.7])
    assert y == pytest.approx(of_model("pythia-160m-deduped", 0.3, [20, 40, 80, 160], 1))
    assert curve(panels[2], "clean")[0] == pytest.approx([20, 40, 80, 160])
    assert [text.get_text() for axes in panels for text in axes.texts] == ["pythia-160m-deduped", "gemma-2-2b"]


def test_intervals_of_what_decides_are_over_data_seeds(run):
    """Seeds differ by 0.3 points: a t interval of three is 0.3 x 4.303 / sqrt(3)."""
    config = PAPER | SEEDS
    run(config)
    axes = open_figure(config, "decides").axes[2]
    half = 0.3 * 4.30265 / 3**0.5
    (band,) = [found for found in axes.collections if hasattr(found, "get_paths") and found.get_alpha()]
    heights = band.get_paths()[0].vertices[:, 1]
    middle = of_model("pythia-160m-deduped", 0, [20], 1)[0] + 0.3
    assert heights.min() == pytest.approx(middle - half)
    segments = [found.get_segments() for found in axes.collections if hasattr(found, "get_segments")]
    lengths = [float(end[1] - start[1]) for bars in segments for start, end in bars]
    assert lengths and lengths == pytest.approx([2 * half] * len(lengths))


def test_what_is_taken_apart_is_what_contrasts_csv_says(run):
    config = DEMO | SEEDS
    run(config)
    rows = read_contrasts("results/demo/contrasts.csv")
    rows = {(row.endpoint, row.question, row.contrast): row for row in rows if row.model == "pythia-demo"}
    panels = open_figure(config, "taken_apart").axes
    words = [label.get_text() for label in panels[0].get_yticklabels()]
    assert words[0] == "at equal nominal l0"
    for name, line in (("nominal", 0), ("budget", 1), ("matched", 4)):
        row = rows["absorption", "mask30@8 - clean@8", name]
        drawn = {round(float(x), 6): float(y) for x, y in zip(*curve(panels[0], "mask30"), strict=True)}
        assert drawn[round(row.mean, 6)] == pytest.approx(line, abs=0.3)


def test_achieved_l0_is_over_the_nominal_one(run):
    x, y = curve(run()("achieved_l0")[1], "mask30")
    assert (x, y) == ([20, 40, 80, 160], pytest.approx([1 / 0.7] * 4))


def test_what_masked_tokens_leave_to_others_is_drawn_but_for_topk(run):
    def expected(trainer: str) -> list:
        mine = {"mine": {"kind": "topk"}, "yours": {"kind": "batch_topk"}}
        settings = {"trainer_settings": PAPER["trainer_settings"] | mine}
        axes = run(PAPER | {"run": trainer, "trainers": [trainer]} | settings)("achieved_l0")[0]
        return sorted(line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == ":")

    for trainer in ("jumprelu", "yours"):
        assert expected(trainer) == pytest.approx([1, 1 / 0.8, 1 / 0.7, 1 / 0.5])
    for trainer in ("topk", "mine"):
        assert expected(trainer) == []


def test_the_tradeoff_is_table_3(run):
    (axes,) = run()("tradeoff")
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.get_lines() if len(line.get_xdata()) == 1]
    model = "pythia-160m-deduped"
    expected = [(100 * number(model, p, 20, 0, 1), 100 - 100 * number(model, p, 20, 0, 0)) for p in (0, 0.2, 0.3, 0.5)]
    assert points == [pytest.approx(point) for point in expected]
    assert axes.texts[2].get_text() == "p = 0.3\nl0 28.6"


def test_the_tradeoff_is_at_an_l0_that_its_table_has(run):
    config = PAPER | {"tables": [*PAPER["tables"][:2], PAPER["tables"][2] | {"l0": [80, 40]}]}
    (axes,) = run(config)("tradeoff")
    assert axes.get_title("left") == "pythia-160m-deduped, nominal l0 = 40"
    assert curve(axes, "mask50")[0] == pytest.approx([100 * number("pythia-160m-deduped", 0.5, 40, 0, 1)])


def test_auc_by_k_has_both_tests(run):
    axes = run()("auc_by_k")
    ks, base = PAPER["ood"]["ks"], number("pythia-160m-deduped", 0.5, 20, 0, 9)
    assert curve(axes[0], "mask50") == (ks, pytest.approx([base - 0.1 / k for k in ks]))
    assert curve(axes[2], "mask50") == (ks, pytest.approx([base + 0.05 - 0.1 / k for k in ks]))
    for panel in axes:
        assert [line.get_ydata()[0] for line in panel.get_lines()[-2:]] == pytest.approx([0.8, 0.95 * 0.8])


def test_each_data_set_has_its_row(run):
    axes = run()("ood_datasets")[0]
    x, _ = curve(axes, "mask20")
    base = number("pythia-160m-deduped", 0.2, 20, 0, 9)
    assert x == pytest.approx([base + 0.01 * place for place in range(1, 9)])
    assert axes.get_yticklabels()[0].get_text() == "hist fig ismale"


def test_training_curves_are_the_rows_of_training_csv(run):
    axes = run(DEMO)("training")
    assert len(axes) == 8
    steps = np.arange(0, 1800, 50)
    both = [("clean", 8), ("clean", 20), ("mask30", 8), ("mask30", 20)]
    of_pythia, of_gemma = [*both, ("mask20", 8), ("mask50", 8)], both
    for panel, model, cells in ((axes[0], "pythia-demo", of_pythia), (axes[1], "gemma-demo", of_gemma)):
        lines = panel.get_lines()
        assert all(line.get_xdata().tolist() == (512 * steps).tolist() for line in lines)
        dashes = {20 if line.is_dashed() else 8: line.get_linestyle() for line in lines}
        assert dashes == {8: "-", 20: "--"}
        found = {(line.get_color(), line.get_linestyle()): line.get_ydata()[0] for line in lines}
        p_of = {"clean": 0, "mask20": 0.2, "mask30": 0.3, "mask50": 0.5}
        assert found == pytest.approx(
            {(LOOKS[name].light, dashes[l0]): number(model, p_of[name], l0, 0, 0) for name, l0 in cells}
        )
        assert lines[0].get_ydata() == pytest.approx(lines[0].get_ydata()[0] / (steps + 1))


def test_two_trainers_losses_and_their_variances_are_the_mean_of_their_training_csvs(run):
    axes = run(TWO | {"seeds": [0, 1]})("convergence")
    assert len(axes) == 4
    steps, p_of = np.arange(0, 1800, 50), {"clean": 0, "mask20": 0.2, "mask30": 0.3, "mask50": 0.5}
    for column, model, streams in ((0, "pythia-demo", p_of), (1, "gemma-demo", ["clean", "mask30"])):
        losses = {name: np.mean([number(model, p_of[name], 8, seed, 0) for seed in (0, 1)]) for name in streams}
        for panel, factors in ((axes[column], (1, 1)), (axes[2 + column], (0.2, 0.1))):
            lines = panel.get_lines()
            assert all(line.get_xdata().tolist() == (512 * steps).tolist() for line in lines)
            of_table = {LOOKS[name].light for name in streams}  # the others are the analysis' arms
            found = {
                (line.get_color(), line.is_dashed()): line.get_ydata()[0]
                for line in lines
                if line.get_color() in of_table
            }
            expected = {
                (LOOKS[name].light, dashed): losses[name] * factors[dashed] for name in streams for dashed in (0, 1)
            }
            assert found == pytest.approx(expected)


def test_that_figure_can_be_written_and_says_that_it_is_a_demos(run, tmp_path):
    run(TWO)
    assert tables.DEMO in notes(open_figure(TWO, "convergence"))
    figure(TWO, "convergence", [tmp_path / "it.png"])
    dots = np.array(Image.open(tmp_path / "it.png").convert("L"))
    dots[6:-6, 6:-6] = 255
    assert (dots == 255).all()


def test_long_curves_are_averaged_in_blocks(tmp_path):
    lines = "".join(f"{i},{i},8,0.5,{i}\n" for i in range(3000))
    (tmp_path / "training.csv").write_text("tokens,loss,l0,explained_variance,dead_latents\n" + lines)
    curves = read_curves(tmp_path / "training.csv")
    assert curves["loss"].tolist() == [20 * block + 9.5 for block in range(150)]


@pytest.mark.parametrize("name", FIGURES)
def test_all_have_three_forms_and_the_same_bytes_in_another_process(run, tmp_path, name):
    run(DEMO)
    kinds = ("svg", "pdf", "png")
    once = [tmp_path / "once" / f"{name}.{kind}" for kind in kinds]
    figure(DEMO, name, once)
    code = (
        "import sys; sys.path[:0] = [sys.argv[1] + '/scripts', sys.argv[1] + '/tests']\n"
        "import matplotlib; matplotlib.rcParams.update({'font.size': 20, 'lines.linewidth': 9})\n"  # a user's taste
        "from reported import DEMO, figure\n"
        "from pathlib import Path\n"
        f"figure(DEMO, '{name}', [Path('again/{name}.' + kind) for kind in {kinds}])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(ROOT)], cwd=tmp_path, check=True)
    for path in once:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    assert b"/FontFile2" in once[1].read_bytes()  # embedded TrueType
    assert b"CreationDate" not in once[1].read_bytes()
    assert b"<dc:date>" not in once[0].read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_touches_the_edge(run, tmp_path, name):
    run(DEMO)
    figure(DEMO, name, [tmp_path / "it.png"])
    dots = np.array(Image.open(tmp_path / "it.png").convert("L"))
    assert (dots[6:-6, 6:-6] < 255).any()
    dots[6:-6, 6:-6] = 255
    assert (dots == 255).all()


@pytest.mark.parametrize("name", FIGURES)
def test_a_demos_figures_say_so_and_the_papers_do_not(run, name):
    run(DEMO)
    assert tables.DEMO in notes(open_figure(DEMO, name))


def test_the_papers_figures_have_no_such_label(run):
    run()
    for name in FIGURES:
        assert notes(open_figure(PAPER, name)) == []


def notes(figure) -> list[str]:
    """What stands beside panels and legend."""
    return [text.get_text().replace("\n", " ") for text in figure.texts]


@pytest.mark.parametrize("name", ["metrics_nominal", "decides", "tradeoff"])
def test_a_missing_score_stops_with_its_path(run, tmp_path, name):
    run()
    path = Path("results/paper/scores.csv")
    lost = ("mask30", 20, ABSORPTION)
    write_rows(path, [row for row in read_rows(path) if (row.stream, row.l0, row.metric) != lost])
    with pytest.raises(InputError, match=r"no absorption.*/mask30/.*/l0_20/seed_0/scores/absorption.json"):
        figure(PAPER, name, [tmp_path / "x.svg"])
    assert not (tmp_path / "x.svg").exists()


def test_a_missing_difference_and_a_broken_curve_stop_too(run, tmp_path):
    run(DEMO | SEEDS)
    entries = [entry for entry in differences_of(DEMO | SEEDS) if entry["seed"] != 2]
    Path("results/demo/ood_differences.json").write_text(json.dumps(entries))
    with pytest.raises(InputError, match=r"ood_differences.json: .*mask30.*seed 2"):
        figure(DEMO | SEEDS, "figure1", [tmp_path / "x.svg"])
    broken = next(Path("results/demo").glob("*/mask30/*/l0_20/seed_0/training.csv"))
    for text in ("", "step,tokens\n1,2\n", "tokens,loss,l0,explained_variance,dead_latents\n1,x,8,1,1\n"):
        broken.write_text(text)
        with pytest.raises(InputError, match=re.escape(str(broken))):
            figure(DEMO | SEEDS, "training", [tmp_path / "x.svg"])
    broken.unlink()
    with pytest.raises(InputError, match=f"{re.escape(str(broken))}: missing"):
        figure(DEMO | SEEDS, "training", [tmp_path / "x.svg"])


def test_bars_and_curves_can_be_told_apart_without_colour(run, tmp_path):
    axes = run()("figure1")[0]
    assert [bar.get_hatch() or "" for bar in axes.patches] == ["", "////"]
    markers = [marker for _, _, marker in (*SHADES.values(), *OTHERS)]
    assert len(set(markers)) == len(markers)
    greys = [Image.new("RGB", (1, 1), light).convert("L").getpixel((0, 0)) for light, _, _ in SHADES.values()]
    assert abs(greys[0] - greys[2]) > 40  # without masking, and the paper's p
    assert greys[1:] == sorted(greys[1:], reverse=True)  # darker with p


# The paper's, those between them, and as many others as have colours of their own.
STREAMS = [Stream("clean")]
STREAMS += [Stream.from_plain({"name": f"mask{p}", "p": p}) for p in (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)]
STREAMS += [
    Stream.from_plain({"name": f"del{p}", "corruption": {"kind": "delete", "p": p}})
    for p in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
]


@pytest.mark.parametrize("stream", [stream.name for stream in STREAMS])
@pytest.mark.parametrize(("theme", "page"), [("light", "#ffffff"), ("dark", "#14171b")])
def test_lines_stand_out_from_the_page(stream, theme, page):
    """WCAG's contrast for graphics, 3:1."""

    def luminance(shade: str) -> float:
        parts = [int(shade[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    low, high = sorted((luminance(getattr(looks(STREAMS)[stream], theme)), luminance(page)))
    assert (high + 0.05) / (low + 0.05) >= 3


def test_no_two_streams_have_one_colour_however_many_there_are():
    """Two masks of one p among them, and more others than there are colours."""
    more = [replace(stream, name=f"{stream.name}-clean", context="clean") for stream in STREAMS if stream.corruption]
    more += [replace(stream, name=f"{stream.name}-again") for stream in STREAMS if stream.corruption]
    found = looks([*STREAMS, *more])
    for theme in ("light", "dark"):
        assert len({getattr(look, theme) for look in found.values()}) == len(found) == 37
    assert [name for name, look in found.items() if look.baseline] == ["clean"]


def test_several_trainers_have_figures_of_their_own():
    both = outputs.figures(checked(PAPER | {"trainers": ["matryoshka_batch_topk", "topk"]}))
    assert len(both) == 2 * len(FIGURES) - len({*contents.OF_ALL_TRAINERS} - {"convergence"})
    assert DrawnFigure("figure1_topk", "figure1", "topk") in both
    assert DrawnFigure("decides", "decides", "") in both
    assert sorted(figure.file for figure in outputs.figures(checked(PAPER))) == FIGURES
    assert DrawnFigure("convergence", "convergence", "") in outputs.figures(checked(TWO))


def test_without_a_table_of_several_p_there_is_no_tradeoff():
    figures = outputs.figures(checked(PAPER | {"tables": PAPER["tables"][:2]}))
    assert {figure.figure for figure in figures} == set(FIGURES) - {"tradeoff"}


def test_without_tables_there_is_none():
    assert outputs.figures(checked(PAPER | {"tables": []})) == []


def test_every_figure_has_a_caption():
    for name in contents.FIGURES:
        assert len((ROOT / "report" / f"{name}.rst").read_text()) > 100
