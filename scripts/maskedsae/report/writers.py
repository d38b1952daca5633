"""A table's three files: CSV for programs, Markdown to read, LaTeX (booktabs) to print."""

import csv
import io
import re
from collections.abc import Callable

from .tables import DEMO, EQUAL_L0, FURTHER, PAPER, SPARSITY, Entry, Line, Table, rounded

MINUS = "\u2212"

COLUMNS = (
    *("table", "model", "trainer", "block", "metric", "method", "stream", "p", "l0"),
    *("value", "sd", "n", "printed", "bold", "published", "difference", "sources", "note"),
)
HEADINGS = {
    PAPER: "",
    FURTHER: "Not in the paper's table",
    SPARSITY: "",
    EQUAL_L0: "Masking, or only sparsity? (Not in the paper)",
}


def to_csv(tables: list[Table]) -> str:
    """One line per number, at full precision, in the order of the printed table."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for table in tables:
        for line in table.lines:
            for entry in line.entries:
                difference = None if entry.difference is None else rounded(entry.difference, entry.decimals)
                lines.writerow(
                    (
                        *(table.name, table.model, table.trainer, line.block, line.label, line.method),
                        *(
                            entry.stream.name,
                            entry.stream.p,
                            entry.l0,
                            entry.mean,
                            entry.sd,
                            len(entry.values),
                            entry.printed,
                        ),
                        *(int(entry.best), entry.published, difference, " ".join(entry.sources)),
                        DEMO if table.demo else None,
                    )
                )
    return text.getvalue()


def to_markdown(tables: list[Table]) -> str:
    return "\n".join(_markdown(table) for table in tables)


def to_latex(tables: list[Table]) -> str:
    """One table environment per table, for \\input; needs \\usepackage{booktabs}."""
    return "\n".join(_latex(table) for table in tables)


def _number(line: Line, entry: Entry, minus: str) -> str:
    return signed(entry.printed, minus) if line.signed else entry.printed.replace("-", minus)


def signed(printed: str, minus: str = MINUS) -> str:
    """A difference as it is printed, with its sign."""
    return printed.replace("-", minus) if float(printed) <= 0 else f"+{printed}"


def _published(line: Line, minus: str, style: Callable[[str], str]) -> list[str] | None:
    """The paper's numbers, for a row under ours, with the differences; None if it has none."""
    if all(entry.published is None for entry in line.entries):
        return None
    texts = []
    for entry in line.entries:
        if entry.difference is None:
            texts.append("")
        else:
            difference = signed(rounded(entry.difference, entry.decimals), minus)
            texts.append(style(f"{entry.published} ({difference})"))
    return texts


def _rows(table: Table) -> list[tuple[str, Line, bool]]:
    """(heading before it, line, whether it is the first of its metric)."""
    rows, before = [], None
    for line in table.lines:
        heading = HEADINGS[line.block] if before is None or before.block != line.block else ""
        first = before is None or (before.block, before.metric) != (line.block, line.metric)
        rows.append((heading, line, first))
        before = line
    return rows


def _labels(table: Table, line: Line, first: bool) -> list[str]:
    """The texts before the numbers. If columns are streams, the method has no column of its own."""
    label = line.label if first else ""
    if table.by == "l0":
        return [label, line.method]
    return [": ".join(part for part in (label, line.method) if part)]


# Markdown.


def _markdown(table: Table) -> str:
    labels = ["Metric", "Method"] if table.by == "l0" else ["Metric"]
    heads = [*labels, *table.columns]
    lines = [f"### {table.name}: {table.title}", ""]
    if table.demo:
        lines += [f"**{DEMO}**", ""]
    lines += [md_row(heads), md_row([":--"] * len(labels) + ["--:"] * len(table.columns))]
    for heading, line, first in _rows(table):
        if heading:
            lines.append(md_row([f"*{heading}*", *[""] * (len(heads) - 1)]))
        lines.append(md_row([*_labels(table, line, first), *(_md_entry(line, entry) for entry in line.entries)]))
        if published := _published(line, MINUS, lambda text: f"*{text}*"):
            lines.append(md_row([*[""] * (len(labels) - 1), "*paper*", *published]))
    notes = [note for note in table.notes if note != DEMO]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def md_row(texts: list[str]) -> str:
    return f"| {' | '.join(text.replace('|', '&#124;') for text in texts)} |"


def _md_entry(line: Line, entry: Entry) -> str:
    if not entry.values:
        return "" if line.is_blank(entry) else "—"
    number, sd = _number(line, entry, MINUS), entry.printed_sd
    number = f"**{number}**" if entry.best else number
    return f"{number} ± {sd}" if sd else number


# LaTeX.

SPECIAL = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}
SIGNS = {
    "±": r"$\pm$",
    "—": "---",
    " x ": r" $\times$ ",
    " - ": r" $-$ ",
    "p = ": r"$p$ = ",
    "n = ": r"$n$ = ",
    "k = ": r"$k$ = ",
    "N = ": r"$N$ = ",
    " = ": r"~$=$~",
}


def tex(text: str) -> str:
    text = "".join(SPECIAL.get(letter, letter) for letter in text)
    for plain, sign in SIGNS.items():
        text = text.replace(plain, sign)
    return re.sub(r"(?<![\w-])l0(?![\w-])", lambda _: r"$\ell_0$", text)  # and not in a name: control0


def _latex(table: Table) -> str:
    labels = ["Metric", "Method"] if table.by == "l0" else ["Metric"]
    width = len(labels) + len(table.columns)
    demo = rf"\textbf{{{DEMO}}} " if table.demo else ""
    notes = " ".join(tex(note) for note in table.notes if note != DEMO)
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"  \abovecaptionskip=0pt \belowcaptionskip=6pt \tabcolsep=4pt \centering\footnotesize",
            rf"  \caption{{{demo}{tex(table.title)}.}}",
            rf"  \label{{tab:{table.name}-{table.trainer.replace('_', '-')}}}",
            rf"  \begin{{tabular}}{{@{{}}{'l' * len(labels)}{'r' * len(table.columns)}@{{}}}}",
            r"    \toprule",
            tex_row([*labels, *map(tex, table.columns)]),
            *_tex_body(table, width),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"",
            r"  \medskip",
            rf"  \parbox{{0.9\linewidth}}{{\footnotesize {notes}}}",
            r"\end{table}",
            "",
        ]
    )


def _tex_body(table: Table, width: int) -> list[str]:
    lines, block = [], None
    for heading, line, first in _rows(table):
        if line.block != block:
            lines.append(r"    \midrule")
        elif first and (table.by == "l0" or table.published or block == EQUAL_L0):  # a metric has more than one row
            lines.append(r"    \addlinespace")
        block = line.block
        if heading:
            lines.append(rf"    \multicolumn{{{width}}}{{@{{}}l}}{{\itshape {tex(heading)}}} \\\addlinespace")
        labels = [tex(label) for label in _labels(table, line, first)]
        lines.append(tex_row([*labels, *(_tex_entry(line, entry) for entry in line.entries)]))
        if published := _published(line, "$-$", lambda text: rf"\scriptsize {text}"):
            before = [""] * (len(labels) - 1)
            lines.append(tex_row([*before, r"\scriptsize\quad paper", *published]))
    return lines


def tex_row(texts: list[str]) -> str:
    return f"    {' & '.join(texts)} \\\\"


def _tex_entry(line: Line, entry: Entry) -> str:
    if not entry.values:
        return "" if line.is_blank(entry) else "---"
    number, sd = _number(line, entry, "$-$"), entry.printed_sd
    number = rf"\textbf{{{number}}}" if entry.best else number
    return rf"{number}{{\scriptsize$\,\pm\,${sd}}}" if sd else number
