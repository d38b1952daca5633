"""Frozen dataclasses from the plain values that YAML and JSON hold, and back."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import InputError

T = TypeVar("T")


def read(cls: type[T], value: Mapping[str, Any], where: str = "") -> T:
    """A `cls` from a mapping; error messages start with `where`.

    A field whose class has a method `from_plain(value, where)` is read by that method.
    """
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise InputError(f"{where}{key}: unknown key: known are {', '.join(known)}")
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}{name}: missing")
    return cls(**{name: _value(hints[name], content, f"{where}{name}") for name, content in value.items()})


def plain(value: Any) -> Any:
    """The inverse of `read`: dataclasses as mappings, tuples as lists. A class may have its own `plain()`."""
    if hasattr(value, "plain"):
        return value.plain()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}  # JSON's keys are text
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        (hint,) = [option for option in inner if option is not type(None)]
        return _value(hint, value, where)
    if origin is Literal:
        return _checked(value in inner, value, where, f"one of {', '.join(map(str, inner))}")
    if origin is tuple:
        _checked(isinstance(value, list | tuple), value, where, "a list")
        return tuple(_value(inner[0], item, f"{where}[{number}]") for number, item in enumerate(value))
    if origin is dict:
        _checked(isinstance(value, Mapping), value, where, "a mapping")
        return {inner[0](key): _value(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, hint):
        return _checked(not isinstance(value, bool) or hint is bool, value, where, hint.__name__)
    if hasattr(hint, "from_plain"):
        return hint.from_plain(value, where)
    if isinstance(hint, type) and is_dataclass(hint):
        _checked(isinstance(value, Mapping), value, where, "a mapping")
        return read(hint, value, f"{where}.")
    if hint is float and isinstance(value, int):
        return _checked(not isinstance(value, bool), value, where, "a number")
    return _checked(False, value, where, hint.__name__)


def _checked(fits: bool, value: Any, where: str, expected: str) -> Any:
    if not fits:
        raise InputError(f"{where}: {value!r} is not {expected}")
    return value
