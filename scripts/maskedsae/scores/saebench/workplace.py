"""A folder of its own for each run of an eval: nothing that it reads or writes is shared but by links to be read."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ...activations.settings import ModelFacts
from ...jobs.typed import plain

PACKAGES = ("sae-bench", "sae-lens", "transformer-lens", "transformers", "datasets", "torch", "numpy", "scikit-learn")


def identity(settings: object, facts: ModelFacts, data: Path, *more: Path) -> str:
    """Of all that decides what an eval makes: what was made under the same one is taken for what would be made now."""
    parts = [json.dumps([plain(settings), plain(facts)], sort_keys=True)]
    parts += [path.read_text() for path in (data / "manifest.json", *more)]
    parts += [version(package) for package in PACKAGES]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@contextmanager
def workplace(beside: Path, data: Path, artefacts: Path | None = None) -> Iterator[Path]:
    """A new folder in `beside`, removed at the end. SAEBench takes a data set's name for a folder's where there is
    one, so the data are linked in under their names; so are, file by file, a model's `artefacts`."""
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
    """All files below, as seen from it. (A loop: data sets are links, which must not be walked into.)"""
    found = []
    for path, _, names in os.walk(folder):
        found += [Path(path, name).relative_to(folder) for name in names]
    return sorted(found)


def unshared(folder: Path) -> list[Path]:
    """Artefacts that SAEBench made itself, since the model's lacked them."""
    artefacts = folder / "artifacts"
    return [file for file in files_of(artefacts) if not (artefacts / file).is_symlink()]
