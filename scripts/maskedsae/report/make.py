"""All tables and the terminal's summary, from scores.csv and the verdicts."""

from collections.abc import Sequence
from pathlib import Path

from ..inference.published import read_published
from ..inference.settings import Shown
from ..jobs.files import read_json, write_bytes
from ..jobs.log import log
from ..scores.table import Scores, read_rows
from .summary import summary
from .tables import make_tables
from .writers import to_csv, to_latex, to_markdown

WRITERS = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}


def write_report_tables(
    scores_csv: str | Path,
    verdicts_json: str | Path,
    published_files: Sequence[str],
    shown: Shown,
    tables_to: list[str],
    summary_to: str,
) -> None:
    """`published_files`: those of reference/. `tables_to`: paths NAME.csv, NAME.md, NAME.tex."""
    scores, published = Scores(read_rows(scores_csv)), read_published(Path(published_files[0]).parent)
    tables = make_tables(shown, scores, published)
    for path in map(Path, tables_to):
        write_bytes(path, WRITERS[path.suffix](tables[path.stem]).encode())

    write_bytes(summary_to, summary(tables, scores, shown, read_json(verdicts_json)).encode())
    log.info("%s: the tables; in short: %s", Path(tables_to[0]).parent if tables_to else "none", summary_to)
