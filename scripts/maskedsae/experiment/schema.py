"""A configuration against the schema: wrong values in one line each, and the defaults of what is left out."""

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from math import isfinite, nan
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from jsonschema.validators import extend

from ..jobs.errors import InputError

SCHEMA = Path(__file__).parents[3] / "schemas" / "config.schema.yaml"

TYPES = {
    "array": "a list",
    "object": "a mapping",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}

BOUNDS = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than"}


def _is_whole(_: object, value: object) -> bool:
    """Not 20.0, which JSON Schema allows: it would end up in a path."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: object, value: object) -> bool:
    """Not .nan, which is within any bounds."""
    return _is_whole(_, value) or (isinstance(value, float) and isfinite(value))


TYPE_CHECKER = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_whole, "number": _is_number})
Validator = extend(Draft202012Validator, type_checker=TYPE_CHECKER)


def check_values(value: object, schema: Mapping[str, Any], where: str = "") -> None:
    """An InputError for the first key or value of `value`, which stands at `where`, that the schema does not allow."""
    if error := best_match(Validator(schema).iter_errors(value)):
        raise InputError(f"configuration: {one_line(error, where)}")


def fill_in(value: Any, schema: Mapping[str, Any]) -> None:
    """The schema's defaults, where they are left out."""
    if isinstance(value, dict):
        for key, inner in schema.get("properties", {}).items():
            if "default" in inner:
                value.setdefault(key, inner["default"])
            if key in value:
                fill_in(value[key], inner)
    if isinstance(value, list):
        for item in value:
            fill_in(item, schema.get("items", {}))


def one_line(error: Any, prefix: str = "") -> str:
    where = _join(prefix, _dotted(error.absolute_path)) if error.absolute_path else prefix
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        close = get_close_matches(str(unknown), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known keys here: {', '.join(known)}"
        return f"{_join(where, unknown)}: unknown key: {hint}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{_join(where, missing)}: missing: config.yaml shows its default"
    if error.validator == "enum":
        allowed = [str(value) for value in error.validator_value]
        close = get_close_matches(str(error.instance), allowed, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"{where}: {as_yaml(error.instance)} is not one of {', '.join(allowed)}{hint}"
    if error.validator == "type":
        return f"{where}: {_not_of_type(error.instance, error.validator_value)}"
    if error.validator in ("minItems", "minLength"):
        return f"{where}: must not be empty"
    if error.validator == "pattern":
        return f"{where}: {as_yaml(error.instance)} is not {error.schema.get('description', error.validator_value)}"
    if error.validator in BOUNDS:
        bound = f"{BOUNDS[error.validator]} {error.validator_value}"
        return f"{where}: {as_yaml(error.instance)} is out of range: it must be {bound}"
    return f"{where}: {error.message}"


def _not_of_type(value: object, types: str | list[str]) -> str:
    types = [types] if isinstance(types, str) else types
    line = f"{as_yaml(value)} is not {' or '.join(TYPES[name] for name in types)}"
    if isinstance(value, int | float) and "string" in types:
        return f'{line}: write "{value}"'
    try:
        number = float(value) if isinstance(value, str | float) else nan
    except ValueError:
        return line
    # YAML reads 3e-4 as text, since it has no point, and 5.0e8 as a number that is not whole.
    if "integer" in types and number.is_integer():
        return f"{line}: write {int(number)}"
    if "number" in types and isfinite(number):
        return f"{line}: write {yaml.safe_dump(number).split()[0]}"
    return line


def as_yaml(value: object) -> str:
    """As YAML writes it."""
    return json.dumps(value, default=str, ensure_ascii=False)


def _dotted(path: Iterable[object]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _join(where: str, key: object) -> str:
    return f"{where}{'' if str(key).startswith('[') else '.'}{key}" if where else str(key)
