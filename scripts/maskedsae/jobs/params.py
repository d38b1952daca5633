"""Settings as the params of a rule: one setting per line, so that a dry run names exactly what changed.

training.batch: 2048
scr_and_tpp.class_pairs."LabHC/bias_in_bios_class_set1": [["professor", "nurse"]]
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from .typed import plain, read

PLAIN = re.compile(r"[\w-]+")
# One key of the path before the value: plain, or quoted as JSON where it holds anything else (a dot, say).
KEY = re.compile(r'([\w-]+|"(?:[^"\\]|\\.)*")(\.|: )')


def spelled_out(settings: Any) -> list[str]:
    """A dataclass or a mapping as lines; `gathered` is the inverse."""
    return list(_lines(plain(settings), ""))


def _lines(settings: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in settings.items():
        name = prefix + (key if PLAIN.fullmatch(key) else json.dumps(key))
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{name}.")
        else:
            yield f"{name}: {json.dumps(value)}"


T = TypeVar("T")


def settings_of(cls: type[T], lines: Iterable[str]) -> T:
    """A rule's settings as the dataclass that they were spelled out from."""
    return read(cls, gathered(lines))


def gathered(lines: Iterable[str]) -> dict[str, Any]:
    """The settings from their lines."""
    settings: dict[str, Any] = {}
    for line in lines:
        mapping, end = settings, 0
        keys: list[str] = []
        while not keys or line[end - 1] == ".":
            found = KEY.match(line, end)
            if not found:
                raise ValueError(f"not a spelled-out setting: {line}")
            keys.append(json.loads(found[1]) if found[1].startswith('"') else found[1])
            end = found.end()
        for key in keys[:-1]:
            mapping = mapping.setdefault(key, {})
        mapping[keys[-1]] = json.loads(line[end:])
    return settings
