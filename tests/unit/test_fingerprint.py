"""A fingerprint changes with the code that computes numbers, and with nothing else."""

import ast
import shutil
from pathlib import Path

import pytest

from maskedsae.experiment import fingerprint as module
from maskedsae.experiment.fingerprint import NO_NUMBERS, fingerprint

PACKAGE = module.PACKAGE

ROOT = PACKAGE.parents[1]

# Beside NO_NUMBERS: what these compute shows up in the rules' params as itself.
SEEN_AS_PARAMS = {"configuration", "grid", "fingerprint"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty package whose modules a test writes: package(name="code", …)."""

    def write(**modules: str) -> None:
        for name, code in modules.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
        module._parse.cache_clear()

    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    yield write
    module._parse.cache_clear()


CODE = '''"""Adds."""

TWO = 2


class Adder:
    def add(self, x: int) -> int:
        return x + TWO
'''


@pytest.mark.parametrize(
    "same",
    [
        "# A comment.\n" + CODE,
        CODE.replace('"""Adds."""\n', ""),
        CODE.replace("Adds.", "Adds two."),
        CODE.replace("class Adder:", 'class Adder:\n    """Adds."""\n'),
        CODE.replace("        return", '        """Adds."""\n        return'),
        CODE.replace("        return", "        # Two more.\n        return"),
        CODE.replace("x + TWO", "(\n            x\n            + TWO\n        )"),
        CODE.replace("\n\n\n", "\n"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(package, same):
    package(adding=CODE)
    before = fingerprint("adding")
    package(adding=same)
    assert same != CODE
    assert fingerprint("adding") == before


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("2", "3"),
        CODE.replace("2", "2.0"),
        CODE.replace("2", "'2'"),
        CODE.replace("+", "-"),
        CODE.replace("x + TWO", "TWO + x"),
        CODE.replace("x: int", "x: int = 0"),
        CODE.replace("        return", "        x += 1\n        return"),
        CODE + "\nAdder.add = None\n",
    ],
)
def test_code_counts(package, other):
    package(adding=CODE)
    before = fingerprint("adding")
    package(adding=other)
    assert fingerprint("adding").keys() == before.keys()
    assert fingerprint("adding") != before


def test_it_is_the_same_in_every_python(package):
    """`ast.unparse` writes these f-strings in one way up to Python 3.11 and in another from 3.12 on."""
    package(spoken="""def say(x):\n    return f'{x!r} "is" {len(x):,} {f"{x}"} \\n'\n""")
    assert fingerprint("spoken") == {"spoken": "6aa2eee1abd8"}


@pytest.mark.parametrize(
    "line",
    [
        "from . import b",
        "from .b import f",
        "from .b import f as g",
        "import maskedsae.b",
        "from maskedsae import b",
        "from maskedsae.b import f",
        "def late():\n    from .b import f",
        "if True:\n    from . import b",
    ],
)
def test_imports_are_followed(package, line):
    package(a=f"import os\nfrom pathlib import Path\n{line}\n", b="from . import c\n", c="f = 1\n", d="f = 1\n")
    assert list(fingerprint("a")) == ["a", "b", "c"]


def test_imports_are_followed_into_and_out_of_a_subpackage(package):
    package(a="from .world.b import f\n", world__b="from ..c import f\nfrom . import d\n", c="f = 1\n", world__d="")
    assert list(fingerprint("a")) == ["a", "c", "world.b", "world.d"]


def test_modules_that_import_each_other_end_somewhere(package):
    package(a="from . import b\n", b="from . import a\n")
    assert list(fingerprint("a")) == ["a", "b"]


def test_a_change_in_any_module_of_training_shows_up_under_its_name(tmp_path, monkeypatch):
    before = fingerprint("training")
    shutil.copytree(PACKAGE, tmp_path / "maskedsae")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "maskedsae")
    with (tmp_path / "maskedsae" / "masks.py").open("a") as file:
        file.write("\nCHANGED = 1\n")
    module._parse.cache_clear()
    after = fingerprint("training")
    module._parse.cache_clear()
    assert [name for name in before if after[name] != before[name]] == ["masks"]


def modules_named_by_rules() -> set[str]:
    """Those for which the rules' params ask: `fingerprint("…")`."""
    sources = [PACKAGE / "grid.py", *(ROOT / "rules").glob("*.smk")]
    text = "\n".join(path.read_text() for path in sources)
    return {piece.split('"')[0] for piece in text.split('fingerprint("')[1:]}


def test_no_module_is_forgotten():
    """A new module is reached from a rule's fingerprint, or is said not to matter."""
    modules = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    reached = {entry: set(fingerprint(entry)) for entry in modules_named_by_rules()}
    packages = {name for name in modules if name.endswith("__init__")}
    assert modules - packages == set.union(*reached.values()) | NO_NUMBERS | SEEN_AS_PARAMS
    for entry, names in reached.items():
        # Figures and the page, which take seconds, ask `grid` what there is to be shown.
        assert not names & (NO_NUMBERS if entry.startswith("report.") else NO_NUMBERS | SEEN_AS_PARAMS), entry


def test_packages_hold_no_code():
    """`__init__.py` files are not followed."""
    for path in PACKAGE.rglob("__init__.py"):
        assert all(isinstance(line.value, ast.Constant) for line in ast.parse(path.read_text()).body), path


def test_what_is_said_not_to_matter_exists():
    for name in NO_NUMBERS | SEEN_AS_PARAMS:
        assert Path(PACKAGE, f"{name.replace('.', '/')}.py").is_file()


SAYS = """
def half(x: int, log) -> float:
    log.info("halving %s", x)
    if x < 0:
        raise InputError(f"{x} is negative")
    return x / 2
"""


def test_what_is_only_said_does_not_count(package):
    package(halving=SAYS)
    before = fingerprint("halving")
    package(halving=SAYS.replace("halving %s", "a half of %s").replace("is negative", "is below zero"))
    assert fingerprint("halving") == before
    package(halving=SAYS.replace("x < 0", "x < 1"))
    assert fingerprint("halving") != before
