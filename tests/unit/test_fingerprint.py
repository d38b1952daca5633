"""A fingerprint changes with the code that computes numbers, and with nothing else."""

import ast
import shutil

import pytest

from checkout import configuration_of
from maskedsae.activations.corruptions.base import known_kinds as corruption_kinds
from maskedsae.experiment import fingerprint as module
from maskedsae.experiment.fingerprint import exempt, fingerprint
from maskedsae.experiment.grid import training_jobs
from maskedsae.experiment.settings import train_settings
from maskedsae.saes.trainers.base import known_kinds as trainer_kinds

PACKAGE = module.PACKAGE

ROOT = PACKAGE.parents[1]


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
    before = fingerprint("saes.training")
    shutil.copytree(PACKAGE, tmp_path / "maskedsae")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "maskedsae")
    with (tmp_path / "maskedsae" / "activations" / "streams.py").open("a") as file:
        file.write("\nCHANGED = 1\n")
    module._parse.cache_clear()
    after = fingerprint("saes.training")
    module._parse.cache_clear()
    assert [name for name in before if after[name] != before[name]] == ["activations.streams"]


def modules_named_by_rules() -> set[str]:
    """Those for which the rules' settings ask: `fingerprint("…")`."""
    text = (PACKAGE / "experiment" / "settings.py").read_text()
    called = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    calls = [node for node in called if getattr(node.func, "id", "") == "fingerprint"]
    assert len(calls) >= 15
    literals = {constant.value for node in calls for constant in ast.walk(node) if isinstance(constant, ast.Constant)}
    return (
        {name for name in literals if (PACKAGE / f"{name.replace('.', '/')}.py").is_file()}
        | {"saes.training", "saes.planted"}
        | KINDS
    )


# Found by their file's name: only the kinds that a stream or trainer is of, and its step, are in its fingerprint.
STEPS = {"saes.steps.stock", "saes.steps.fast"}
KINDS = STEPS | {f"activations.corruptions.{kind}" for kind in corruption_kinds()}
KINDS |= {f"saes.trainers.{kind}" for kind in trainer_kinds()}


def test_no_module_is_forgotten():
    """A new module is reached from a rule's fingerprint, or is exempt."""
    modules = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    modules = {name for name in modules if not name.endswith("__init__")}
    reached = set.union(*(set(fingerprint(entry)) for entry in modules_named_by_rules()))
    seen_as_params = {name for name in modules if name.startswith("experiment.")}
    by_hand = {"report.study", "report.curves", "report.contexts"}  # of commands that no rule runs, and of a notebook
    assert modules - reached == {name for name in modules if exempt(name)} | seen_as_params | by_hand
    assert not reached & seen_as_params


@pytest.mark.parametrize(("step", "kind", "ours"), [("stock", 0, False), ("fast", 0, True), ("fast", 1, False)])
def test_an_sae_depends_on_the_step_that_it_takes(step, kind, ours):
    """A trainer without a step of our own does not depend on ours."""
    kinds = ("matryoshka_batch_topk", "jumprelu")
    config = configuration_of({"training": {"step": step}, "trainers": list(kinds), "trainer_sets": [list(kinds)]})
    code = train_settings(config, training_jobs(config, needed=False)[0]).code[kinds[kind]]
    assert ("saes.steps.sparse" in code) == ("saes.steps.dense" in code) == ours
    assert ("saes.steps.stock" in code) == (not ours)


def test_a_job_without_a_trainer_that_has_a_step_of_our_own_is_the_same_whichever_is_asked_for():
    jobs = []
    for step in ("stock", "fast"):
        config = configuration_of({"training": {"step": step}, "trainers": ["jumprelu"]})
        jobs.append(train_settings(config, training_jobs(config, needed=False)[0]))
    assert jobs[0] == jobs[1]


def test_training_depends_on_the_rooms_before_it_and_on_no_other():
    """A line that decides weights lives in text, activations or saes, and nothing else can train anything again."""
    rooms = {name.split(".")[0] for entry in ("saes.training", "saes.planted", *KINDS) for name in fingerprint(entry)}
    assert rooms == {"text", "activations", "saes"}


def test_what_is_fetched_of_an_sae_depends_on_no_reading_of_models():
    assert set(fingerprint("saes.imported.fetching")) == {
        f"saes.imported.{name}" for name in ("fetching", "described", "settings")
    }


# What an exempt module may use of the libraries that compute: questions, settings and checks, no arithmetic.
HARMLESS = {
    *("cuda", "version", "set_num_threads", "get_num_threads", "__version__", "isfinite"),
    *("is_available", "get_device_name", "Tensor", "device"),
}


def test_what_is_exempt_computes_nothing():
    """It imports no library that computes, or asks it only for what cannot reach a result."""
    checked = [name for name in all_modules() if exempt(name)]
    assert len(checked) > 15
    for name in checked:
        tree = ast.parse((PACKAGE / f"{name.replace('.', '/')}.py").read_text())
        imported = {
            alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        imported |= {
            node.module.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
        }
        assert not imported & {
            "numpy",
            "scipy",
            "sklearn",
            "pandas",
            "transformers",
            "dictionary_learning",
            "sae_bench",
        }, name
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "torch"
        }
        assert used <= HARMLESS, (name, used - HARMLESS)
        from_rooms = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level == 1 and not name.startswith("jobs.")
        }
        assert not {"variance", "recorded", "remembered", "evals"} & from_rooms, name


def all_modules() -> set[str]:
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    return {name for name in names if not name.endswith("__init__")}


@pytest.mark.parametrize(
    "name", ["saes.quality", "scores.ood.rows", "inference.paired", "activations.corruptions.base"]
)
def test_a_module_that_computes_would_be_found_if_it_were_exempt(name, monkeypatch):
    monkeypatch.setattr(module, "NO_NUMBERS", module.NO_NUMBERS | {name})
    with pytest.raises(AssertionError):
        test_what_is_exempt_computes_nothing()


def test_packages_hold_no_code():
    """`__init__.py` files are not followed."""
    for path in PACKAGE.rglob("__init__.py"):
        assert all(isinstance(line.value, ast.Constant) for line in ast.parse(path.read_text()).body), path


def test_what_is_exempt_exists():
    assert all_modules() >= module.NO_NUMBERS


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
