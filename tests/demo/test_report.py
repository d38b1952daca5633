"""What the demo ends in: tables and figures from its own real scores, and the two reports."""

import csv
import re
import shutil
import zipfile

from checkout import demo_config
from checkout import snakemake_demo as snakemake
from recomputed import check_tables


def test_every_cell_of_every_table_is_what_its_json_file_says(demo):
    assert check_tables(demo / "results/demo", demo_config()) == 196


def test_the_imported_sae_stands_in_its_table_with_the_numbers_of_the_cell_that_it_is(demo):
    def printed(table: str, **wanted: str) -> dict[str, str]:
        with (demo / "results/demo/tables" / f"{table}.csv").open(newline="") as file:
            lines = [line for line in csv.DictReader(file) if wanted.items() <= line.items()]
        return {line["metric"]: line["printed"] for line in lines if line["block"] != "equal_l0"}

    again, cell = printed("imported", trainer="again"), printed("table1", stream="clean", l0="8")
    assert len(again) == len(cell) + 2  # explained variance on clean text, and probes out of distribution
    assert cell.items() <= again.items()


def test_all_that_it_shows_says_that_it_is_the_demos(demo):
    results = demo / "results/demo"
    made = [*(results / "tables").iterdir(), results / "summary.txt", results / "report.html"]
    assert len(made) == 14
    assert all("no evidence about the paper" in path.read_text() for path in made)
    # Figures draw their letters; the label is checked in unit/test_figures.py.
    assert len(list((results / "figures").glob("*.svg"))) == 9


def test_snakemakes_own_report_holds_figures_tables_and_the_page(demo, tmp_path):
    done = snakemake(demo, "--report", str(tmp_path / "report.zip"))
    assert done.returncode == 0, done.stdout + done.stderr
    names = {name.rsplit("/", 1)[1] for name in zipfile.ZipFile(tmp_path / "report.zip").namelist() if "/raw/" in name}
    shown = [*(demo / "results/demo/figures").glob("*.svg"), *(demo / "results/demo/tables").glob("*.csv")]
    assert names == {path.name for path in shown} | {"report.html"} and len(names) == 9 + 4 + 1


def test_a_lost_benchmark_file_does_nothing_again(demo, tmp_path):
    """Bookkeeping that nobody misses until the page says so: no hour of training is spent to have it back."""
    shutil.copytree(demo, tmp_path / "demo", symlinks=True)
    for step in ("train", "saebench", "oracle"):
        next((tmp_path / "demo/results/demo/benchmarks").glob(f"{step}/*.tsv")).unlink()
    done = snakemake(tmp_path / "demo", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    planned = set(re.findall(r"^(?:local)?rule (\S+):$", done.stdout + done.stderr, re.MULTILINE))
    # Whose inputs name the checkout's folder, which is another.
    assert planned <= {"all", "contrasts", "tables", "figure_taken_apart", "report"}
