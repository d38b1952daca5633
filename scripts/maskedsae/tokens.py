"""Packed contexts of token ids, as `packing.write_tokens` makes them: memory-mapped, and checked before use."""

from pathlib import Path

import numpy as np

from .errors import InputError
from .files import read_json, sha256

SCHEMA = 1


def check_file(folder: Path, entry: dict, contents: bool = True) -> None:
    path = folder / entry["name"]
    again = f"remove {folder}/manifest.json and give the same command, and the tokens are made again"
    if not path.exists():
        raise InputError(f"{path} is missing: {again}")
    if path.stat().st_size != entry["bytes"]:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes, not {entry['bytes']:,} (truncated?): {again}")
    if contents and sha256(path) != entry["sha256"]:
        raise InputError(f"{path} was altered: its SHA-256 is not the manifest's: {again}")


class Tokens:
    """A finished folder. Contexts are numbered from 0 in each part, training contexts across all shards."""

    def __init__(self, folder: Path, manifest: dict):
        self.folder, self.manifest = folder, manifest
        self.context_length = manifest["context_length"]
        self.n_heldout = manifest["heldout"]["contexts"]
        self.n_train = manifest["train"]["contexts"]
        self._heldout, *self._shards = (np.load(folder / entry["name"], mmap_mode="r") for entry in manifest["files"])

    @classmethod
    def open(cls, folder: str | Path, verify: bool = True) -> "Tokens":
        """`verify` reads every byte and compares checksums (about 1 s a GB); without it, only sizes are compared."""
        path = Path(folder) / "manifest.json"
        if not path.exists():
            raise InputError(f"{path} is missing: these tokens were not made, or not to the end: make them again")
        manifest = read_json(path)
        if manifest.get("schema") != SCHEMA:
            raise InputError(f"{path} has schema {manifest.get('schema')}, not {SCHEMA}: make the tokens again")
        for entry in manifest["files"]:
            check_file(path.parent, entry, contents=verify)
        return cls(path.parent, manifest)

    def contexts(self, start: int, stop: int) -> np.ndarray:
        """Training contexts start, …, stop - 1 as int64 (stop - start, context_length)."""
        return self._rows(self._shards, start, stop, self.n_train)

    def heldout(self, start: int, stop: int) -> np.ndarray:
        return self._rows([self._heldout], start, stop, self.n_heldout)

    def _rows(self, arrays: list[np.ndarray], start: int, stop: int, available: int) -> np.ndarray:
        if not 0 <= start <= stop <= available:
            raise IndexError(f"contexts {start} to {stop} of {available} in {self.folder}")
        rows = np.empty((stop - start, self.context_length), np.int64)
        first = 0  # number of the array's first context
        for array in arrays:
            low, high = max(start, first), min(stop, first + len(array))
            if low < high:
                rows[low - start : high - start] = array[low - first : high - first]
            first += len(array)
        return rows
