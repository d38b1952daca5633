"""The environment's files agree with each other, and with what is installed."""

import re
from importlib.metadata import version
from pathlib import Path

import yaml

ENVS = Path(__file__).parents[2] / "envs"


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE))


CONSTRAINTS = pins((ENVS / "constraints.txt").read_text())
NODEPS = pins((ENVS / "requirements-nodeps.txt").read_text())


def test_every_requirement_is_pinned():
    lines = [line.split("[")[0] for line in (ENVS / "requirements.txt").read_text().splitlines()]
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    pinned = {name.lower().replace("_", "-") for name in CONSTRAINTS}
    assert [name for name in names if name.lower() not in pinned] == []


def test_what_is_installed_is_what_is_pinned():
    for name, pin in (CONSTRAINTS | NODEPS).items():
        assert version(name).removesuffix("+cpu") == pin, name


def test_conda_installs_the_same():
    environment = yaml.safe_load((ENVS / "maskedsae.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == [f"{name}=={pin}" for name, pin in CONSTRAINTS.items()]
    assert pins((ENVS / "maskedsae.post-deploy.sh").read_text()) == NODEPS


def test_no_cuda_packages_are_pinned():
    """They come with torch's CUDA build, where it is installed; a CPU machine must not get them."""
    assert [name for name in CONSTRAINTS if re.match(r"nvidia|cuda|triton|torchvision", name)] == []
