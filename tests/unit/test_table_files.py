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

from checkout import ROOT
from maskedsae.experiment.grid import table_files, table_settings
from maskedsae.report.make import write_report_tables
from maskedsae.report.tables import DEMO
from maskedsae.report.writers import _tex, to_csv, to_latex, to_markdown
from maskedsae.scores.table import write_rows
from scored import KEYS, PAPER, paper_with, plain, rows_of, table_of, tables_of


def read(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_artefact_of_a_demo_says_that_it_is_one():
    for demo, config in ((True, paper_with(world={})), (False, PAPER)):
        for tables in tables_of(plain, config).values():
            rows = read(to_csv(tables))
            assert {row["note"] for row in rows} == {DEMO if demo else ""}
            assert (f"**{DEMO}**" in to_markdown(tables)) == demo
            assert (rf"\caption{{\textbf{{{DEMO}}}" in to_latex(tables)) == demo


def test_csv_has_full_precision_the_printed_number_and_its_file():
    rows = read(to_csv([table_of(plain)]))
    assert len(rows) == 4 * (10 + 2 + 10)
    row = next(row for row in rows if (row["metric"], row["method"], row["l0"]) == ("TPP", "w/ Masking", "40"))
    assert float(row["value"]) == 100 * plain("", 0.3, 40, 0, KEYS[3])
    assert row["printed"] == f"{float(row['value']):.3f}"
    folder = "results/paper/pythia-160m-deduped/mask30/matryoshka_batch_topk/l0_40/seed_0"
    assert row["sources"] == f"{folder}/scores/tpp.json"


def test_markdown_is_a_table():
    lines = [text for text in to_markdown([table_of(plain)]).splitlines() if text.startswith("|")]
    assert {text.count("|") for text in lines} == {7}
    assert lines[0] == "| Metric | Method | l0 = 20 | l0 = 40 | l0 = 80 | l0 = 160 |"


def test_all_nine_files_the_verdicts_and_the_summary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = paper_with(world={})
    write_rows("scores.csv", rows_of(config, plain))
    to = {"tables": table_files(config), "verdicts": "verdicts.json", "summary": "summary.txt"}
    write_report_tables("scores.csv", ROOT / "reference", table_settings(config), to)
    assert len(to["tables"]) == 9
    assert all(Path(path).stat().st_size for path in to["tables"])
    summary = Path("summary.txt").read_text()
    assert summary.startswith(DEMO)
    assert re.search(r"^ +w/o Masking +w/ Masking$", summary, re.MULTILINE)
    assert re.search(r"^  TPP +15\.996 +18\.996 \*$", summary, re.MULTILINE)
    assert "The paper's claims: none is tested by this run." in summary

    found = json.loads(Path("verdicts.json").read_text())
    assert {verdict["demo"] for verdict in found} == {True}


def test_names_are_no_mathematics():
    """l0 is, but not inside a name; and nothing in a name is LaTeX's own."""
    assert _tex("control0 at l0 = 20") == r"control0 at $\ell_0$~$=$~20"
    assert _tex("my-l0_x") == r"my-l0\_x"
    assert _tex("{a}^~\\") == r"\{a\}\textasciicircum{}\textasciitilde{}\textbackslash{}"


# A4 with margins of an inch: with seeds and the paper's numbers, four l0s take 150 mm.
DOCUMENT = r"""\documentclass{article}
\usepackage[a4paper,margin=25mm]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
@pytest.mark.parametrize("world", [None, {}])
def test_latex_compiles(tmp_path, seeds, world):
    """With the paper's numbers, and as a demo; names may have what LaTeX takes for its own."""
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex on this machine (Debian: texlive-latex-base, texlive-latex-recommended)")
    tables = tables_of(plain, paper_with(seeds=seeds, world=world))
    for name, of_trainers in tables.items():
        (tmp_path / f"{name}.tex").write_text(to_latex(of_trainers))
    (tmp_path / "all.tex").write_text(DOCUMENT % "\n".join(rf"\input{{{name}}}" for name in tables))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "all.pdf").stat().st_size > 10_000
