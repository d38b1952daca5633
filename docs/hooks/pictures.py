"""The site's pictures and the notebook's outputs, made again from results (`make pictures`).

python docs/hooks/pictures.py demo results/demo docs        when only the demo has run
python docs/hooks/pictures.py tutorial results/demo docs    when the tutorial's overlay has run too
python docs/hooks/pictures.py article results/article-demo docs
"""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import yaml
from nbclient import NotebookClient
from PIL import Image
from snakemake.utils import update_config

from maskedsae.experiment import outputs
from maskedsae.experiment.checks import check
from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.settings import figure_settings
from maskedsae.report.figures.draw import draw

ROOT = Path(__file__).parents[2]
DEMO, TUTORIAL = "profiles/demo/demo.yaml", "profiles/tutorial/deleted.yaml"
OF_ARMS = ("decides", "taken_apart")  # these change with the arms, so they are drawn with the demo's own configuration
COLOURS = 128  # of a picture
NOTEBOOK = "look_inside.ipynb"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def of_demo(results: Path, pictures: Path) -> None:
    """The README's picture as lines, which stay sharp; the others as pixels, at a third of the size."""
    demo = configuration(DEMO)
    for drawn in outputs.figures(demo):
        if drawn.figure in OF_ARMS:
            kind = "svg" if drawn.figure == "decides" else "png"
            draw_again(demo, drawn.figure, results, pictures / f"{drawn.file}.{kind}")
        else:
            shutil.copy(results / f"figures/{drawn.file}.png", pictures)
    photograph(results / "report.html", pictures / "report.png")
    for picture in pictures.glob("*.png"):
        shrink(picture)
    shutil.copy(results / "tables/table3.md", pictures)


def of_tutorial(results: Path, pictures: Path) -> None:
    draw_again(configuration(DEMO, TUTORIAL), "decides", results, pictures / "tutorial.svg")


def of_article(results: Path, pictures: Path) -> None:
    shutil.copy(results / "figures/convergence.png", pictures)
    shrink(pictures / "convergence.png")


def shrink(picture: Path) -> None:
    Image.open(picture).quantize(COLOURS).save(picture, optimize=True)


def configuration(*overlays: str) -> Configuration:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for overlay in overlays:
        update_config(config, yaml.safe_load((ROOT / overlay).read_text()))
    return check(config)


def draw_again(config: Configuration, figure: str, results: Path, to: Path) -> None:
    """One figure, about the first model only: the pages have room for half of it. Without the demo's imported SAE,
    which is one of its cells again and lies under it."""
    drawn = next(drawn for drawn in outputs.figures(config) if drawn.figure == figure)
    settings = figure_settings(config, drawn)
    settings = replace(settings, shown=replace(settings.shown, models=settings.shown.models[:1], imported=()))
    draw({"scores": str(results / "scores.csv"), "contrasts": str(results / "contrasts.csv")}, settings, [str(to)])


def photograph(page: Path, to: Path) -> None:
    """The top of the page, as a browser shows it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"error: {to} needs a browser: install the package chromium")
    with TemporaryDirectory() as folder:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1100"]
        options += [f"--user-data-dir={folder}", "--virtual-time-budget=5000", f"--screenshot={to.resolve()}"]
        subprocess.run([browser, *options, f"file://{page.resolve()}"], check=True, capture_output=True)


def execute(notebook: Path, where: Path, to: Path) -> None:
    """With its outputs; `where` is the folder that has results/."""
    read = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": where}}
    NotebookClient(read, timeout=600, kernel_name="python3", coalesce_streams=True, resources=resources).execute()
    for cell in read.cells:
        cell.metadata.pop("execution", None)  # times, which change with each run
        if cell.cell_type == "code":  # without warnings and progress bars
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    read.metadata["language_info"] = {"name": "python"}  # nor this machine's Python
    nbformat.write(read, to)


if __name__ == "__main__":
    step, results_of_run, docs = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    {"demo": of_demo, "tutorial": of_tutorial, "article": of_article}[step](results_of_run, docs / "pictures")
    if step == "demo":
        execute(docs / NOTEBOOK, results_of_run.parents[1], docs / NOTEBOOK)
