"""A table with a row for each SAE, in the form of the other tables: CSV, Markdown, LaTeX and HTML."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from .tables import DEMO
from .writers import MINUS, md_row, tex, tex_row

TEXTS = ("Model", "SAE")  # the first columns


@dataclass(frozen=True)
class Listed:
    """A row: the numbers of an SAE as printed, or under them those that others published, with the differences."""

    model: str
    sae: str
    numbers: tuple[str, ...]
    published: bool = False


@dataclass(frozen=True)
class Listing:
    name: str
    title: str
    heads: tuple[str, ...]  # of the numbers
    rows: tuple[Listed, ...]
    notes: tuple[str, ...]
    demo: bool
    columns: tuple[str, ...]  # of the CSV, which has a line for each number
    lines: tuple[tuple[object, ...], ...]
    warnings: tuple[str, ...] = ()


def to_csv(listing: Listing) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow((*listing.columns, "note"))
    lines.writerows((*line, DEMO if listing.demo else None) for line in listing.lines)
    return text.getvalue()


def _labels(rows: Sequence[Listed]) -> list[tuple[Listed, str, str]]:
    """With each model and SAE named once."""
    found = []
    for model, own in groupby(rows, key=lambda row: row.model):
        for number, row in enumerate(own):
            found.append((row, "" if number else model, "published" if row.published else row.sae))
    return found


def to_markdown(listing: Listing) -> str:
    lines = [f"### {listing.name}: {listing.title}", ""]
    lines += [f"**{DEMO}**", ""] if listing.demo else []
    for warning in listing.warnings:
        lines += [f"**{warning}**", ""]
    lines += [md_row([*TEXTS, *listing.heads]), md_row([":--"] * len(TEXTS) + ["--:"] * len(listing.heads))]
    for row, model, sae in _labels(listing.rows):
        texts = [sae, *(text.replace("-", MINUS) for text in row.numbers)]
        lines.append(md_row([model, *([f"*{text}*" for text in texts] if row.published else texts)]))
    return "\n".join([*lines, "", *(f"- {note}" for note in listing.notes), ""])


def to_latex(listing: Listing) -> str:
    """One table environment, for \\input; needs \\usepackage{booktabs}."""
    demo = rf"\textbf{{{DEMO}}} " if listing.demo else ""
    notes = [*(rf"\textbf{{{tex(warning)}}}" for warning in listing.warnings), *map(tex, listing.notes)]
    heads = [rf"\shortstack[r]{{{tex(head).replace(' ', chr(92) * 2)}}}" for head in listing.heads]
    lines, before = [], ""
    for row, model, sae in _labels(listing.rows):
        if model and before:
            lines.append(r"    \addlinespace")
        texts = [tex(text.replace("-", MINUS)).replace(MINUS, "$-$") for text in row.numbers]
        labels = [tex(model), r"\quad published" if row.published else tex(sae)]
        lines.append(tex_row([*labels, *(rf"\itshape {text}" if row.published else text for text in texts)]))
        before = model or before
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"  \abovecaptionskip=0pt \belowcaptionskip=6pt \tabcolsep=2pt \centering\scriptsize",
            rf"  \caption{{{demo}{tex(listing.title)}.}}",
            rf"  \label{{tab:{listing.name}}}",
            rf"  \begin{{tabular}}{{@{{}}{'l' * len(TEXTS)}{'r' * len(listing.heads)}@{{}}}}",
            r"    \toprule",
            tex_row([*TEXTS, *heads]),
            r"    \midrule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"",
            r"  \medskip",
            rf"  \parbox{{0.9\linewidth}}{{\footnotesize {' '.join(notes)}}}",
            r"\end{table}",
            "",
        ]
    )


def to_html(listing: Listing) -> str:
    heads = [f'<th scope="col" class="text">{head}</th>' for head in TEXTS]
    heads += [f'<th scope="col">{escape(head)}</th>' for head in listing.heads]
    lines = [
        f'<table class="wide"><caption>{escape(listing.title)}</caption>',
        f"<thead><tr>{''.join(heads)}</tr></thead>",
        "<tbody>",
    ]
    for row, model, sae in _labels(listing.rows):
        kind = "paper" if row.published else "first"
        name = f'<td class="text">{sae}</td>' if row.published else f'<th scope="row" class="text">{escape(sae)}</th>'
        numbers = "".join(f'<td class="number">{text.replace("-", MINUS)}</td>' for text in row.numbers)
        lines.append(f'<tr class="{kind}"><td class="text">{escape(model)}</td>{name}{numbers}</tr>')
    return "\n".join([*lines, "</tbody></table>"])
