"""The tables as files: CSV, Markdown, and LaTeX that compiles; what a demo says on each."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from maskedsae.experiment.grid import table_files
from maskedsae.inference.make import write_inference
from maskedsae.inference.published import FILES
from maskedsae.report.html import table_html
from maskedsae.report.make import WRITERS, write_report_tables
from maskedsae.report.summary import summary
from maskedsae.report.tables import DEMO, Table
from maskedsae.report.writers import tex, to_csv, to_latex, to_markdown
from maskedsae.scores.table import Scores, write_rows
from reported import PAPER, ROOT, checked, shown_of
from scored import KEYS, paper_with, plain, rows_of, table_of, tables_of


def read(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


# Two tables as tests/golden/ has them, whose numbers follow from these shares at (p, l0). Of seed 1 each share is 1/64
# more, and the l0 on clean text the same. They are sums of powers of two, so every digit is exact.
GOLDEN = Path(__file__).parents[1] / "golden"
PLACES = ((0, 20), (0, 40), (0.2, 20), (0.3, 20), (0.3, 40), (0.5, 20))
SHARES = {
    "absorption.mean_full_absorption_score": (0.25, 0.125, 0.1875, 0.125, 0.0625, 0.5),
    "absorption.mean_absorption_fraction_score": (0.5, 0.5, 0.25, 0.5, 0.625, 0.75),
    "absorption.mean_num_split_features": (1.25, 1.0, 1.5, 1.25, 1.125, 2.0),
    "letters.best_latent_f1": (0.5, 0.625, 0.5, 0.75, 0.625, 0.25),
    "core.explained_variance_legacy": (0.75, 0.875, 0.75, 0.6875, 0.875, 0.625),
    "sparse_probing.sae_top_1_test_accuracy": (0.75, 0.75, 0.75, 0.75, 0.8125, 0.75),
    "tpp.tpp_threshold_20_total_metric": (0.125, 0.25, 0.1875, 0.25, 0.1875, 0.25),
    "scr.scr_metric_threshold_20": (-0.125, 0.0, 0.0, 0.25, 0.375, -0.25),
    "quality.l0": (20.0, 40.0, 20.0, 40.0, 80.0, 80.0),
}


def golden(name: str) -> list[Table]:
    def number(model, p, l0, seed, key):
        if key not in SHARES:  # no table shows it
            return 0.5
        return SHARES[key][PLACES.index((p, l0))] + (0 if key == "quality.l0" else seed / 64)

    table = {"model": "pythia-160m-deduped"}
    by_l0 = table | {"name": "by-l0", "streams": ["clean", "mask30"], "l0": [20, 40]}
    by_stream = table | {"name": "by-stream", "streams": ["clean", "mask20", "mask30", "mask50"], "l0": [20]}
    return tables_of(number, paper_with(seeds=[0, 1], tables=[by_l0, by_stream]))[name]


@pytest.mark.parametrize("name", ["by-l0", "by-stream"])
@pytest.mark.parametrize("kind", ["csv", "md", "tex", "html"])
def test_a_table_is_this_very_text(name, kind):
    """In its three files, and on the page."""
    (table,) = golden(name)
    text = table_html(table) + "\n" if kind == "html" else WRITERS[f".{kind}"]([table])
    assert text == (GOLDEN / f"{name}.{kind}").read_text()


def test_every_artefact_of_a_demo_says_that_it_is_one():
    for demo in (True, False):
        for tables in tables_of(plain, demo=demo).values():
            rows = read(to_csv(tables))
            assert {row["note"] for row in rows} == {DEMO if demo else ""}
            assert (f"**{DEMO}**" in to_markdown(tables)) == demo
            assert (rf"\caption{{\textbf{{{DEMO}}}" in to_latex(tables)) == demo


def test_csv_has_full_precision_the_printed_number_and_its_file():
    rows = read(to_csv([table_of(plain)]))
    assert len(rows) == 4 * (10 + 6 + 2 + 14)
    row = next(row for row in rows if (row["metric"], row["method"], row["l0"]) == ("TPP", "w/ Masking", "40"))
    assert float(row["value"]) == 100 * plain("pythia-160m-deduped", 0.3, 40, 0, KEYS[3])
    assert row["printed"] == f"{float(row['value']):.3f}"
    folder = "results/paper/pythia-160m-deduped/mask30/matryoshka_batch_topk/l0_40/seed_0"
    assert row["sources"] == f"{folder}/scores/tpp.json"


SUMMARY = f"""{DEMO}

pythia-160m-deduped, matryoshka_batch_topk, l0 = 20, n = 1; * marks the best
                             w/o Masking    w/ Masking
  Mean Full Absorption          85.104 *      82.104
  Absorption Fraction           80.104 *      77.104
  Split Features                 0.209 *       0.239
  Best Single Latent            21.896        24.896 *
  Explained Variance            15.896        18.896 *
  Sparse Probing                16.896        19.896 *
  TPP                           17.896        20.896 *
  SCR                           18.896        21.896 *
  OOD AUC (oracle 0.900)         0.600         0.600
  l0 on clean text                20.0          28.6

gemma-2-2b, matryoshka_batch_topk, l0 = 20, n = 1; * marks the best
                             w/o Masking    w/ Masking
  Mean Full Absorption          86.004 *      83.004
  Absorption Fraction           81.004 *      78.004
  Split Features                 0.200 *       0.230
  Best Single Latent            20.996        23.996 *
  Explained Variance            14.996        17.996 *
  Sparse Probing                15.996        18.996 *
  TPP                           16.996        19.996 *
  SCR                           17.996        20.996 *
  OOD AUC (oracle 0.900)         0.600         0.600
  l0 on clean text                20.0          28.6

Is it masking, or only sparsity? Undecided: this run has 1 data seed, and a verdict needs at least
6. The numbers describe these SAEs and say nothing about others.

The paper's claims: none is tested by this run.
"""


def test_all_nine_files_and_the_summary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows("scores.csv", rows_of(PAPER, plain))
    files, published = table_files(checked(PAPER)), [str(ROOT / "reference" / name) for name in FILES]
    shown = shown_of(PAPER, demo=True)
    write_inference("scores.csv", published, shown, "contrasts.csv", "verdicts.json")
    write_report_tables("scores.csv", "verdicts.json", published, [], shown, files, "summary.txt")
    tables = tables_of(plain, demo=True)
    folder = "results/paper/tables"
    assert files == [f"{folder}/table{number}.{kind}" for number in (1, 2, 3) for kind in ("csv", "md", "tex")]
    for path in map(Path, files):
        assert path.read_text() == WRITERS[path.suffix](tables[path.stem])
    assert Path("summary.txt").read_text() == SUMMARY
    assert json.loads(Path("verdicts.json").read_text())["demo"] is True


def test_columns_of_the_summary_stand_apart_whatever_they_are_called():
    tables = [{"name": "own", "model": "gemma-2-2b", "streams": ["clean", "mask20", "mask50"], "l0": None}]
    config = paper_with(tables=tables)
    scores = Scores(rows_of(config, plain))
    nothing = {"data_seeds": 1, "decisions": [], "claims": []}
    lines = summary(tables_of(plain, config), scores, shown_of(config), nothing).splitlines()
    heads = ["w/o Masking", "w/ Masking, p = 0.2", "w/ Masking, p = 0.5"]
    assert re.split("  +", lines[1].strip()) == heads
    ends = [lines[1].index(head) + len(head) for head in heads]
    for line in lines[2:12]:  # eight metrics, the probes and the l0: a number ends below its head, before its star
        assert [number.end() for number in re.finditer(r"\d+\.\d+(?![\d)])", line)] == [end - 2 for end in ends], line


def test_names_are_no_mathematics():
    """l0 is, but not inside a name; and nothing in a name is LaTeX's own."""
    assert tex("control0 at l0 = 20") == r"control0 at $\ell_0$~$=$~20"
    assert tex("my-l0_x") == r"my-l0\_x"
    assert tex("{a}^~\\") == r"\{a\}\textasciicircum{}\textasciitilde{}\textbackslash{}"


# A4 with margins of an inch: with seeds and the paper's numbers, four l0s take 150 mm.
DOCUMENT = r"""\documentclass{article}
\usepackage[a4paper,margin=25mm]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
@pytest.mark.parametrize("demo", [False, True])
def test_latex_compiles(tmp_path, seeds, demo):
    """With the paper's numbers, and as a demo; names may have what LaTeX takes for its own."""
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex on this machine (Debian: texlive-latex-base, texlive-latex-recommended)")
    tables = tables_of(plain, paper_with(seeds=seeds), demo=demo)
    for name, of_trainers in tables.items():
        (tmp_path / f"{name}.tex").write_text(to_latex(of_trainers))
    (tmp_path / "all.tex").write_text(DOCUMENT % "\n".join(rf"\input{{{name}}}" for name in tables))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Float too large" not in done.stdout
    assert (tmp_path / "all.pdf").stat().st_size > 10_000
