"""The shape of the library, as CONTRIBUTING.md has it."""

import ast
from pathlib import Path

import pytest

import maskedsae

PACKAGE = Path(maskedsae.__file__).parent
ROOMS = ("jobs", "text", "activations", "saes", "scores", "inference", "report")  # each may use those before it
FILES = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]


def test_files_are_short_and_say_what_they_are_about():
    assert len(FILES) > 150
    long = {str(file): count for file in FILES if (count := len((PACKAGE / file).read_text().splitlines())) > 400}
    assert not long
    assert not [file for file in FILES if "util" in file.name]


def rooms_used_by(file: Path) -> set[str]:
    """Those that a file imports from, in functions too."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.ImportFrom):
            folder = file.parts[: len(file.parts) - node.level] if node.level else ()
            parts = [*folder, *(node.module or "").removeprefix("maskedsae.").split(".")]
            names = [parts[0]] if parts[0] else [alias.name for alias in node.names]
            found |= set(names) & {*ROOMS, "experiment", "world"}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_between_rooms_point_one_way(room):
    before = set(ROOMS[: ROOMS.index(room) + 1])
    uphill = {str(file): others for file in FILES if file.parts[0] == room and (others := rooms_used_by(file) - before)}
    assert not uphill


def test_the_library_knows_nothing_of_snakemake():
    texts = {str(file): (PACKAGE / file).read_text() for file in FILES}
    assert not [file for file, text in texts.items() if "import snakemake" in text or "from snakemake" in text]
