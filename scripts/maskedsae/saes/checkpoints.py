"""A cell's state between two blocks, in one file; damage to it is noticed.

The file is a SHA-256 of what follows, then a torch archive of tensors and plain values.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from ..jobs.errors import InputError
from ..jobs.files import write_bytes


def to_bytes(value: object) -> bytes:
    """torch.save's bytes. Saved to a path they would depend on the file's name, which torch writes into the archive."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def save(path: Path, state: dict[str, Any]) -> None:
    data = to_bytes(state)
    write_bytes(path, hashlib.sha256(data).digest() + data)


def load(path: Path) -> dict[str, Any] | None:
    """The state, or None if there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, data = content[:32], content[32:]
    if hashlib.sha256(data).digest() != digest:
        raise InputError(
            f"{path}: this checkpoint is truncated or altered (its checksum differs): restore it, or delete it to "
            "train the cell from the start"
        )
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
