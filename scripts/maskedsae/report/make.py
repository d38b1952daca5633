"""All tables and the terminal's summary, from scores.csv and the verdicts."""

from collections.abc import Sequence
from pathlib import Path

from ..inference.published import read_published
from ..inference.settings import Shown
from ..jobs.files import read_json, write_bytes
from ..jobs.log import log
from ..scores.table import Scores, read_rows
from . import listing, writers
from .imported import listings
from .summary import summary
from .tables import make_tables

WRITERS = {".csv": writers.to_csv, ".md": writers.to_markdown, ".tex": writers.to_latex}
OF_LISTINGS = {".csv": listing.to_csv, ".md": listing.to_markdown, ".tex": listing.to_latex}


def write_report_tables(
    scores_csv: str | Path,
    verdicts_json: str | Path,
    published_files: Sequence[str],
    theirs: Sequence[str],
    shown: Shown,
    tables_to: list[str],
    summary_to: str,
) -> None:
    """`published_files`: those of reference/. `theirs`: published scores of imported SAEs, and ours (read_theirs).
    `tables_to`: paths NAME.csv, NAME.md, NAME.tex."""
    scores, published = Scores(read_rows(scores_csv)), read_published(Path(published_files[0]).parent)
    tables = make_tables(shown, scores, published)
    listed = {each.name: each for each in listings(shown, scores, theirs)}
    for path in map(Path, tables_to):
        name, kind = path.stem, path.suffix
        text = OF_LISTINGS[kind](listed[name]) if name in listed else WRITERS[kind](tables[name])
        write_bytes(path, text.encode())

    write_bytes(summary_to, summary(tables, scores, shown, read_json(verdicts_json)).encode())
    log.info("%s: the tables; in short: %s", Path(tables_to[0]).parent if tables_to else "none", summary_to)
