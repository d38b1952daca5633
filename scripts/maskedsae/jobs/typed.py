"""Frozen dataclasses from the plain values that YAML and JSON hold, and back."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import InputError

T = TypeVar("T")


def read(cls: type[T], value: Mapping[str, Any], where: str = "") -> T:
    """A `cls` from a mapping; `where` begins the line that says what does not fit.

    A class with a method `from_plain(value, where)` is asked for itself, wherever it stands as a field.
    """
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise InputError(f"{where}{key}: unknown key: known are {', '.join(known)}")
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}{name}: missing")
    return cls(**{name: _value(hints[name], given, f"{where}{name}") for name, given in value.items()})


def plain(value: Any) -> Any:
    """What `read` reads: dataclasses as mappings, tuples as lists. A method `plain()` of a class has its own word."""
    if hasattr(value, "plain"):
        return value.plain()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        (kind,) = [each for each in inner if each is not type(None)]
        return _value(kind, value, where)
    if origin is Literal:
        return _checked(value in inner, value, where, f"one of {', '.join(map(str, inner))}")
    if origin is tuple:
        _checked(isinstance(value, list | tuple), value, where, "a list")
        return tuple(_value(inner[0], each, f"{where}[{number}]") for number, each in enumerate(value))
    if origin is dict:
        _checked(isinstance(value, Mapping), value, where, "a mapping")
        return {inner[0](key): _value(inner[1], each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(value, kind):
        return _checked(not isinstance(value, bool) or kind is bool, value, where, kind.__name__)
    if hasattr(kind, "from_plain"):
        return kind.from_plain(value, where)
    if isinstance(kind, type) and is_dataclass(kind):
        _checked(isinstance(value, Mapping), value, where, "a mapping")
        return read(kind, value, f"{where}.")
    if kind is float and isinstance(value, int):
        return _checked(not isinstance(value, bool), value, where, "a number")
    return _checked(False, value, where, kind.__name__)


def _checked(fits: bool, value: Any, where: str, expected: str) -> Any:
    if not fits:
        raise InputError(f"{where}: {value!r} is not {expected}")
    return value
