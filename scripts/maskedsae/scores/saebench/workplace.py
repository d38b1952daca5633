"""A folder of its own for each run of an eval. Shared files are links in it, and are only read."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...activations.settings import ModelFacts
from ...jobs.files import read_json
from ...jobs.typed import plain
from .names import set_of
from .settings import Evals

PACKAGES = ("sae-bench", "sae-lens", "transformer-lens", "transformers", "datasets", "torch", "numpy", "scikit-learn")


def identity(settings: dict[str, Any], facts: ModelFacts, *read: object) -> str:
    """A hash of everything that decides what one eval makes; files with the same identity are used again. `read`: what
    it reads, as checksums or records."""
    versions = {package: version(package) for package in PACKAGES}
    content = json.dumps([settings, plain(facts), *read, versions], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def texts(eval_name: str, evals: Evals, data: Path) -> dict[str, Any]:
    """Checksums of the data sets that an eval reads; absorption needs only the model's vocabulary."""
    paired = [set_of(name) for name in evals.scr_and_tpp.dataset_names]
    names = {
        "absorption": [],
        "core": [evals.core.dataset],
        "sparse_probing": [set_of(name) for name in evals.sparse_probing.dataset_names],
    }.get(eval_name, paired)
    sets = read_json(data / "manifest.json")["sets"]
    return {name: sets[name]["files"] for name in names}


@contextmanager
def workplace(beside: Path, data: Path, artefacts: Path | None = None) -> Iterator[Path]:
    """A new folder in `beside`, removed at the end. SAEBench reads a data set from a folder of its name where there is
    one, so the data sets are linked in under their names. A model's `artefacts` are linked in file by file."""
    folder = (beside / f"work-{uuid.uuid4().hex[:12]}").absolute()
    folder.mkdir(parents=True)
    try:
        for owner in sorted(path for path in data.absolute().iterdir() if path.is_dir()):
            (folder / owner.name).symlink_to(owner)
        if artefacts:
            for file in files_of(artefacts.absolute()):
                link = folder / "artifacts" / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(artefacts.absolute() / file)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def files_of(folder: Path) -> list[Path]:
    """All files below `folder`, relative to it. (os.walk does not follow links, and data sets are links.)"""
    found = []
    for path, _, names in os.walk(folder):
        found += [Path(path, name).relative_to(folder) for name in names]
    return sorted(found)


def unshared(folder: Path) -> list[Path]:
    """Artefacts that SAEBench made itself, because the model's `artefacts` lacked them."""
    artefacts = folder / "artifacts"
    return [file for file in files_of(artefacts) if not (artefacts / file).is_symlink()]
