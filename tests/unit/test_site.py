"""The documentation site: whole, without the network; its configuration reference says all that config.yaml does."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from html import unescape
from pathlib import Path

import nbformat
import pytest
import yaml

from checkout import ROOT
from conftest import BROWSER, needs_docs
from maskedsae.report.contents import FIGURES

pytestmark = needs_docs
PICTURES = ROOT / "docs/pictures"


def build(folder: Path, site: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text_of(page: Path) -> str:
    """Of its article, as a reader sees it."""
    article = re.search(r"<article.*?</article>", page.read_text(), re.DOTALL)[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", article)))


DEAD = {
    "docs/scores.md": "[x](nowhere_one.md) [x](ood.md#nowhere-two)",
    "README.md": "[x](docs/nowhere_three.md) ![x](docs/pictures/nowhere_four.svg)",
    "CONTRIBUTING.md": "[x](scripts/nowhere_five.py)",
    "docs/which_file.md": "[x](../config.yaml#nowhere_six)",
}


def test_a_dead_link_stops_the_build(tmp_path):
    out = shutil.ignore_patterns(".venv", ".git", "results", "site", ".snakemake", "__pycache__", "tests", ".*_cache")
    folder = tmp_path / "repository"
    shutil.copytree(ROOT, folder, symlinks=True, ignore=out)
    for page, links in DEAD.items():
        (folder / page).write_text(f"{(folder / page).read_text()}\n{links}\n")
    done = build(folder, tmp_path / "site")
    assert done.returncode != 0
    planted = set(re.findall(r"nowhere.\w+", " ".join(DEAD.values())))
    assert set(re.findall(r"nowhere.\w+", done.stdout + done.stderr)) == planted and len(planted) == 6


def test_every_page_of_docs_has_its_place_in_the_navigation(site):
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    missing = [page for page in pages if not page.startswith("pictures/") and f" {page}\n" not in navigation]
    assert len(pages) > 12 and missing == []


def test_no_page_takes_anything_from_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = re.findall(r'<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)="(?!data:)([^"]*)"', page.read_text())
        assert not [address for address in loaded if "//" in address], page
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?https?:|@import", style.read_text()), style


def keys(value: object, schema: dict, whole: dict, path: str = "") -> set[str]:
    """Every key that a configuration has or may have."""
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "items" in schema:
        return keys(None, schema["items"], whole, f"{path}[]")
    given = value if isinstance(value, dict) else {}
    inner = {name: schema.get("additionalProperties") or {} for name in given} | schema.get("properties", {})
    found = set()
    for name, its in inner.items():
        place = f"{path}.{name}" if path else name
        found |= {place} | keys(given.get(name), its if isinstance(its, dict) else {}, whole, place)
    return found


def test_the_configuration_reference_has_every_key(site):
    schema = yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text())
    expected = keys(yaml.safe_load((ROOT / "config.yaml").read_text()), schema, schema)
    shown = set(re.findall(r'<div class="key" id="([^"]*)"', (site / "configuration.html").read_text()))
    # A trainer's kind and its own size are the same for each, and said above them. A penalty's l0s are values.
    optional = {key for key in expected if re.fullmatch(r"trainer_settings\.\w+\.(kind|dict_size|\w+\.\d+)", key)}
    assert len(expected) > 200
    assert expected - optional - shown == set()
    assert shown <= expected


def test_the_configuration_reference_loses_no_word_of_a_comment(site):
    def words(text: str) -> Counter:
        return Counter(re.findall(r"\w+", text))

    lines = (ROOT / "config.yaml").read_text().splitlines()
    comments = [found[1] for line in lines if (found := re.search(r"(?:^|\s)#\s(.*)", line))]
    assert len(comments) > 250
    assert words(" ".join(comments)) - words(text_of(site / "configuration.html")) == Counter()


def test_the_configuration_reference_says_what_a_value_may_be(site):
    text = text_of(site / "configuration.html")
    assert "training.batch : 2048 whole number, at least 1" in text
    assert "training.step : stock stock or fast" in text
    assert "training.max_norm_multiple : null number or null, more than 1" in text


def test_the_gallery_shows_every_figure_and_no_picture_lies_about():
    shown = re.findall(r"\(pictures/([\w.]+)\)", (ROOT / "docs/gallery.md").read_text())
    assert set(FIGURES) <= {name.split(".")[0] for name in shown}
    others = "".join(path.read_text() for path in [ROOT / "README.md", ROOT / "docs/tutorial.md"])
    pictures = [path for path in PICTURES.iterdir() if path.name not in shown]
    assert [path.name for path in pictures if f"pictures/{path.name}" not in others] == []
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 1e6


def test_the_notebook_is_committed_with_its_outputs():
    cells = nbformat.read(ROOT / "docs/look_inside.ipynb", as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("background: rgba" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_the_notebook_uses_what_is_public():
    cells = nbformat.read(ROOT / "docs/look_inside.ipynb", as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert re.findall(r"\._[a-z]\w*|import _\w+", code) == []


@pytest.mark.skipif(BROWSER is None, reason="no browser: install the package chromium")
@pytest.mark.parametrize("name", ["index", "configuration", "gallery", "look_inside", "tutorial", "study/index"])
def test_a_page_fits_a_phone(site, tmp_path, name):
    """Wide tables and pictures scroll in their own frames, or shrink; the page does not scroll sideways."""
    page = site / f"{name}.html"
    probe = page.with_name(f"{page.stem}_probe.html")
    script = "<script>document.body.dataset.wide = document.documentElement.scrollWidth</script></body>"
    probe.write_text(page.read_text().replace("</body>", script))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000"]
    command = [
        BROWSER,
        *options,
        f"--user-data-dir={tmp_path}",
        "--window-size=500,900",
        "--dump-dom",
        f"file://{probe}",
    ]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    probe.unlink()
    assert int(re.search(r'data-wide="(\d+)"', dom)[1]) <= 500
