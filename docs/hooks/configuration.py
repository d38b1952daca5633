"""The configuration reference: config.yaml's own comments and values, with what the schema allows, as a page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than"}
TYPES = {"integer": "whole number", "object": "mapping", "string": "text", "boolean": "true or false"}
WIDEST = 60  # letters of a value that stands beside its key


@dataclass
class Key:
    path: str
    schema: dict[str, Any]
    value: str  # as config.yaml has it, or the schema's default; empty: a mapping, whose keys follow
    comment: list[str]  # lines above it
    beside: str  # on its line


class Reference:
    def __init__(self, text: str, schema: dict[str, Any]):
        self.text, self.lines, self.schema = text, text.splitlines(), schema

    def page(self) -> str:
        introduction = self.lines[: self.lines.index("")]
        parts = ["# Configuration", HEAD, prose(introduction)]
        for key in self.keys():
            if "." not in key.path and "[" not in key.path:
                parts.append(f"\n## {key.path}\n")
            parts.append(entry(key))
        return "\n".join(parts) + "\n"

    def keys(self) -> Iterator[Key]:
        yield from self._mapping(yaml.compose(self.text), self.schema, "")

    def _mapping(self, node: yaml.MappingNode, schema: dict[str, Any], path: str) -> Iterator[Key]:
        for name, value in node.value:
            inner = self._resolved(schema.get("properties", {}).get(name.value) or schema.get("additionalProperties"))
            key = f"{path}.{name.value}" if path else name.value
            end = value.end_mark if value.start_mark.line == value.end_mark.line or value.flow_style else name.end_mark
            beside = re.search(r"#\s*(.*)", self.lines[end.line][end.column :])
            above = self._above(name.start_mark.line)
            is_block = isinstance(value, yaml.MappingNode) and not value.flow_style
            written = "" if is_block else self._written(value)
            yield Key(key, inner, written, above, beside[1] if beside else "")
            if is_block:
                yield from self._mapping(value, inner, key)
            else:
                yield from self._only_in_schema(inner, key)

    def _only_in_schema(self, schema: dict[str, Any], path: str) -> Iterator[Key]:
        """Keys of what config.yaml has as null, or as entries of a list."""
        if "items" in schema:
            schema, path = self._resolved(schema["items"]), f"{path}[]"
        for name, given in schema.get("properties", {}).items():
            inner = self._resolved(given)
            default = yaml.safe_dump(inner["default"]).split("\n")[0] if "default" in inner else ""
            yield Key(f"{path}.{name}", inner, default, [], "")
            yield from self._only_in_schema(inner, f"{path}.{name}")

    def _resolved(self, schema: Any) -> dict[str, Any]:
        schema = schema if isinstance(schema, dict) else {}
        if "$ref" in schema:
            return self.schema["$defs"][schema["$ref"].rsplit("/", 1)[1]] | schema
        return schema

    def _above(self, line: int) -> list[str]:
        first = line
        while first and self.lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return self.lines[first:line]

    def _written(self, node: yaml.Node) -> str:
        lines = self.text[node.start_mark.index : node.end_mark.index].rstrip().splitlines()
        if node.start_mark.line == node.end_mark.line:
            return lines[0]
        indent = " " * node.start_mark.column
        # What stands above the next key is that key's.
        while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
            lines.pop()
        return "\n".join(line.removeprefix(indent) for line in lines)


HEAD = """
This page is made from `config.yaml`, the paper's experiment, and from `schemas/config.schema.yaml`: each key with its
value there, what it may be, and why it is what it is. A run of your own is a small file that says only what differs.
"""


def entry(key: Key) -> str:
    name, long = escape(key.path), "\n" in key.value or len(key.value) > WIDEST
    value = f" <code>{escape(key.value)}</code>" if key.value and not long else ""
    lines = [f'<div class="key" id="{name}" markdown="0">']
    what = f"<small>{escape(allowed(key.schema))}</small>"
    lines.append(f"<p><code><b>{name}</b></code>{':' if value else ''}{value} {what}</p>")
    lines += [prose(key.comment)] if key.comment else []
    lines += [f"<p>{inline(key.beside)}</p>"] if key.beside else []
    lines += [f"<pre><code>{escape(key.value)}</code></pre>"] if long else []
    return "\n".join([*lines, "</div>"])


def allowed(schema: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "enum" in schema:
        return " or ".join("null" if value is None else str(value) for value in schema["enum"])
    kinds = schema.get("type", "mapping" if "properties" in schema else "")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    words = " or ".join(TYPES.get(kind, {"array": "list"}.get(kind, kind)) for kind in kinds)
    bounds = [f"{word} {schema[bound]:,}" for bound, word in BOUNDS.items() if bound in schema]
    return ", ".join([words, *bounds])


def prose(lines: list[str]) -> str:
    """A comment's paragraphs and, where its lines are indented, its list of terms. Deeper lines go on with an item."""
    html: list[str] = []
    text: list[str] = []
    item = 0  # the indent of the open item's first line; 0: none is open

    def close() -> None:
        if text:
            html.append(term(" ".join(text), item) if item else f"<p>{inline(' '.join(text))}</p>")
            text.clear()

    for line in lines:
        content = line.lstrip()[1:]
        indent = len(content) - len(content.lstrip())
        begins = content.lstrip().startswith(("{kind", "- {")) or 1 < indent < 9
        if not content.strip():
            close()
            item = 0
        elif begins or (item and indent <= 1):
            close()
            item = indent if indent > 1 else 0
        if content.strip():
            text.append(content.strip() if text else content.lstrip())
    close()
    return "\n".join(html)


def term(text: str, indent: int) -> str:
    """ "name   what it is": the name is what stands before two spaces, or the first word."""
    found = re.match(r"(\{.*?\})\s*(.*)", text) or re.match(r"(.+?)\s{2,}(.*)", text) or re.match(r"(\S+)\s*(.*)", text)
    assert found is not None
    level = "term" if indent < 5 else "term inner"
    return f'<p class="{level}"><code>{escape(found[1])}</code> {inline(found[2])}</p>'


def inline(text: str) -> str:
    """`code` as code, and [sources] in small letters."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"(?<!\S)\[([a-z]+\b[^\]<{]*)\]", r"<small>[\1]</small>", re.sub(r"\s+", " ", text))


def markdown() -> str:
    schema = yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text())
    return Reference((ROOT / "config.yaml").read_text(), schema).page()
