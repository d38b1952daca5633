"""Writing files whole or not at all, and checksums by which a later change is noticed."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from .errors import InputError


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Write `path` so that no reader, and no power cut, ever sees a part of it."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{path}: no space left on the disk for {len(data):,} bytes: free some and start again"
            ) from error
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def require_space(folder: str | Path, size: int, what: str) -> None:
    """Call this before long work, which would otherwise find the disk full at its end."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"{folder}: {what} will take {size / 1e6:,.0f} MB, and its disk has {free / 1e6:,.0f} MB free: free some"
        )


def write_json(path: str | Path, value: object) -> None:
    """Indented, with keys in the given order; NaN is refused, since JSON has none."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | Path) -> dict[str, Any]:
    """A mapping; `read_list` for a list."""
    value: dict[str, Any] = _read_json(path)
    return value


def read_list(path: str | Path) -> list[Any]:
    value: list[Any] = _read_json(path)
    return value


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error}): remove the file so that it is made again") from error


def read_sums(path: str | Path) -> dict[str, str]:
    """{name: checksum} of a file as `sha256sum --check` reads it."""
    try:
        lines = [line.split(maxsplit=1) for line in Path(path).read_text().splitlines()]
        return {name.removeprefix("*"): found for found, name in lines}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a list of checksums ({error}): make this SAE again") from error


def sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
