"""The environment's files agree with each other, and with what is installed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from conftest import WITHOUT_DOCS

ENVS = Path(__file__).parents[2] / "envs"


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE))


CONSTRAINTS = pins((ENVS / "constraints.txt").read_text())
LINES = (ENVS / "requirements-nodeps.txt").read_text().splitlines()
NODEPS = [Requirement(line) for line in LINES if line and not line.startswith("#")]


def test_every_requirement_is_pinned():
    lines = [line.split("[")[0] for line in (ENVS / "requirements.txt").read_text().splitlines()]
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    pinned = {name.lower().replace("_", "-") for name in CONSTRAINTS}
    assert [name for name in names if name.lower() not in pinned] == []


def test_what_is_installed_is_what_is_pinned():
    for name, pin in CONSTRAINTS.items():
        assert version(name).split("+")[0] == pin, name  # of torch, either build
    for package in NODEPS:
        if package.marker is None or package.marker.evaluate():
            assert version(package.name) in package.specifier, package


def test_what_the_site_needs_is_pinned_beside_the_environment():
    """All of it, and nothing that the environment pins already: make constraints leaves these out."""
    lines = [line for line in (ENVS / "requirements-docs.txt").read_text().splitlines() if not line.startswith("#")]
    docs = pins("\n".join(lines))
    assert len(docs) == len(lines) and {"mkdocs", "nbclient", "ipykernel"} <= docs.keys()
    assert {name.lower().replace("_", "-") for name in docs} & {
        name.lower().replace("_", "-") for name in CONSTRAINTS
    } == set()
    if not WITHOUT_DOCS:
        assert {name: version(name) for name in docs} == docs


def test_conda_installs_the_same():
    environment = yaml.safe_load((ENVS / "maskedsae.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == [f"{name}=={pin}" for name, pin in CONSTRAINTS.items()]
    command = shlex.split((ENVS / "maskedsae.post-deploy.sh").read_text().replace("\\\n", " "), comments=True)
    assert [Requirement(given) for given in command[command.index("--no-deps") + 1 :]] == NODEPS


def test_no_cuda_packages_are_pinned():
    """They come with torch's CUDA build, where it is installed; a CPU machine must not get them."""
    assert [name for name in CONSTRAINTS if re.match(r"nvidia|cuda|triton|torchvision", name)] == []


# A Python whose venvs have this torch already: pip there only notes what it was asked for.
PYTHON = """#!/bin/bash
case "$*" in
    *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"-m pip"*) echo "$*" >> asked.txt ;;
    *) PYTHONPATH=$PWD exec {python} "$@" ;;
esac
"""
TORCH = """from types import SimpleNamespace
__version__, version = {build!r}, SimpleNamespace(cuda={cuda!r})
"""


@pytest.mark.parametrize(("build", "cuda"), [("2.13.0+cpu", None), ("2.13.0+cu130", "13.0")])
def test_make_env_checks_that_it_got_the_cuda_build(build, cuda, tmp_path):
    """Asked for ==2.13.0, pip may well take 2.13.0+cpu."""
    shutil.copytree(ENVS, tmp_path / "envs")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ENVS.parent / name, tmp_path)
    (tmp_path / "torch.py").write_text(TORCH.format(build=build, cuda=cuda))
    python = tmp_path / "python"
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    command = ["make", "env", "TORCH=cuda", f"PYTHON={python}"]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
    assert (tmp_path / "asked.txt").read_text().splitlines()[0].endswith(f" torch==={CONSTRAINTS['torch']}")
    assert (tmp_path / ".venv/torch-cuda").exists() == (cuda is not None), done.stderr
    if cuda is None:
        assert done.returncode != 0
        error, make = done.stderr.splitlines()
        assert error.startswith(
            f"error: TORCH=cuda, but pip found torch {build}, which has no CUDA: give pip an index "
        )
        assert make.startswith("make: ***")


def test_the_library_can_be_imported_from_anywhere(tmp_path):
    """It is installed in .venv, so that a notebook needs no path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = "import maskedsae.saes.cells; print(maskedsae.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == ENVS.parent / "scripts" / "maskedsae" / "__init__.py"


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ENVS.parent / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ENVS.parent / "CITATION.cff").read_text())
    newest = re.search(r"^## \[?(\d[\d.]*)", (ENVS.parent / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version("maskedsae") == project["version"] == citation["version"] == newest[1]


def test_pre_commit_runs_what_make_lint_runs():
    hooks = yaml.safe_load((ENVS.parent / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = re.search(r"^lint: env\n((?:\t.*\n)*)", (ENVS.parent / "Makefile").read_text(), re.MULTILINE)[1]
    tools = set(re.findall(r"\$\(BIN\)/([\w-]+)", lint)) - {"snakemake"}
    assert {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks} == tools
