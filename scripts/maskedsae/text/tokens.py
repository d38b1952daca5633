"""Packed contexts of token ids, as `packing.write_tokens` makes them: memory-mapped, and checked before use."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..jobs.errors import InputError
from ..jobs.files import read_json, sha256

SCHEMA = 1


def check_file(folder: Path, entry: dict[str, Any], contents: bool = True) -> None:
    path = folder / entry["name"]
    again = f"remove {folder}/manifest.json and run the same command, and the tokens are made again"
    if not path.exists():
        raise InputError(f"{path} is missing: {again}")
    if path.stat().st_size != entry["bytes"]:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes, not {entry['bytes']:,} (truncated?): {again}")
    if contents and sha256(path) != entry["sha256"]:
        raise InputError(f"{path} was altered: its SHA-256 is not the manifest's: {again}")


class Tokens:
    """The contexts of a finished folder, numbered from 0 in each part; training contexts across all shards."""

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder, self.manifest = folder, manifest
        self.context_length = manifest["context_length"]
        self.n_heldout = manifest["heldout"]["contexts"]
        self.n_train = manifest["train"]["contexts"]
        self._heldout, *self._shards = (np.load(folder / entry["name"], mmap_mode="r") for entry in manifest["files"])

    @classmethod
    def open(cls, folder: str | Path, verify: bool = True) -> "Tokens":
        """`verify` reads every byte and compares checksums (about 1 s per GB); without it, only sizes are compared."""
        path = Path(folder) / "manifest.json"
        if not path.exists():
            raise InputError(f"{path} is missing: these tokens were not made, or not completely: make them again")
        manifest = read_json(path)
        if manifest.get("schema") != SCHEMA:
            raise InputError(f"{path} has schema {manifest.get('schema')}, not {SCHEMA}: make the tokens again")
        for entry in manifest["files"]:
            check_file(path.parent, entry, contents=verify)
        return cls(path.parent, manifest)

    def first(self, contexts: int) -> "Tokens":
        """The same tokens, with at most this many training contexts."""
        limited = Tokens(self.folder, self.manifest)
        limited.n_train = min(contexts, self.n_train)
        return limited

    def digest(self) -> str:
        """SHA-256 of the training contexts (the text that an SAE learns from), however they are cut into files."""
        digest, remaining = hashlib.sha256(f"{self.context_length}".encode()), self.n_train
        for shard in self._shards:
            digest.update(np.ascontiguousarray(shard[:remaining]).data)
            remaining -= min(remaining, len(shard))
        return digest.hexdigest()

    def contexts(self, start: int, stop: int) -> NDArray[np.int64]:
        """Training contexts start, …, stop - 1 as int64 (stop - start, context_length)."""
        return self._rows(self._shards, start, stop, self.n_train)

    def heldout(self, start: int, stop: int) -> NDArray[np.int64]:
        return self._rows([self._heldout], start, stop, self.n_heldout)

    def _rows(self, arrays: list[NDArray[Any]], start: int, stop: int, available: int) -> NDArray[np.int64]:
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
