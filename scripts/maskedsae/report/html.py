"""Parts of the page: figures inline, in the page's own colours; captions; tables."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from docutils.core import publish_parts

from ..activations.settings import Stream
from .style import ALERT, GRID, INK, MUTED, PAPER, looks
from .tables import Entry, Line, Table, rounded
from .writers import HEADINGS, MINUS, signed

VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", ALERT: "alert"}


class Palette:
    """Each stream's colour as a CSS variable, so that figures and tables follow the page's light or dark mode."""

    def __init__(self, streams: Sequence[Stream]):
        self.looks = looks(streams)
        self.variables = {name: f"stream{number}" for number, name in enumerate(self.looks)}

    def css(self) -> str:
        light, dark = (
            " ".join(f"--{self.variables[name]}: {getattr(look, page)};" for name, look in self.looks.items())
            for page in ("light", "dark")
        )
        return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"

    def inline_svg(self, path: str | Path, name: str, title: str) -> str:
        """A figure as part of the page: with a label, with ids of its own, and with the page's colours."""
        svg = Path(path).read_text()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
        names = {colour.lower(): variable for colour, variable in VARIABLES.items()}
        names |= {look.light.lower(): self.variables[stream] for stream, look in self.looks.items()}
        svg = re.sub(r"#[0-9a-fA-F]{6}\b", lambda found: _variable(found[0], names), svg)
        head = f'<svg role="img" aria-label="{escape(title)}" aria-describedby="{name}-caption" '
        return re.sub(r'(width|height)="[\d.]+pt" ', "", svg.replace("<svg ", head, 1), count=2).strip()


def _variable(colour: str, names: dict[str, str]) -> str:
    name = names.get(colour.lower())
    return f"var(--{name})" if name else colour


def caption(path: str | Path) -> str:
    """From reStructuredText, which Snakemake's own report needs."""
    options = {"file_insertion_enabled": False, "raw_enabled": False, "report_level": 5, "initial_header_level": 3}
    body: str = publish_parts(Path(path).read_text(), writer="html5", settings_overrides=options)["body"]
    return body.strip()


def table_html(table: Table) -> str:
    methods = any(line.method for line in table.lines)
    heads = ["Metric", *(["Method"] if methods else [])]
    columns = [f'<th scope="col" class="text">{head}</th>' for head in heads]
    columns += [f'<th scope="col">{escape(head)}</th>' for head in table.columns]
    lines = [
        f"<table><caption>{escape(_named(table.name))}: {escape(table.title)}</caption>",
        f"<thead><tr>{''.join(columns)}</tr></thead>",
        "<tbody>",
    ]
    before = None
    for line in table.lines:
        if HEADINGS[line.block] and (before is None or before.block != line.block):
            width = len(heads) + len(table.columns)
            lines.append(f'<tr class="heading"><th colspan="{width}">{escape(HEADINGS[line.block])}</th></tr>')
        first = before is None or (before.block, before.metric) != (line.block, line.metric)
        lines.append(_row(line, first, methods))
        if any(entry.published for entry in line.entries):
            lines.append(_published_row(line, methods))
        before = line
    return "\n".join([*lines, "</tbody></table>"])


def _named(name: str) -> str:
    """ "table1" as "Table 1"."""
    return re.sub(r"^table(?=\d)", "Table ", name)


def _row(line: Line, first: bool, methods: bool) -> str:
    label = f'<th scope="row" class="text">{escape(line.label if first else "")}</th>'
    method = f'<td class="text">{escape(line.method)}</td>' if methods else ""
    entries = "".join(_entry(line, entry) for entry in line.entries)
    return ('<tr class="first">' if first else "<tr>") + f"{label}{method}{entries}</tr>"


def _entry(line: Line, entry: Entry) -> str:
    if not entry.values:
        return "<td></td>" if line.is_blank(entry) else "<td>—</td>"
    text = signed(entry.printed) if line.signed else entry.printed.replace("-", MINUS)
    deviation = f' <span class="sd">± {entry.printed_sd}</span>' if entry.printed_sd else ""
    kind = "number best" if entry.best else "number"
    return f'<td class="{kind}">{text}{deviation}</td>'


def _published_row(line: Line, methods: bool) -> str:
    entries = [
        "<td></td>"
        if entry.difference is None
        else f'<td class="number">{entry.published} ({signed(rounded(entry.difference, entry.decimals))})</td>'
        for entry in line.entries
    ]
    before = "<td></td>" if methods else ""
    return f'<tr class="paper">{before}<td class="text">paper</td>{"".join(entries)}</tr>'
