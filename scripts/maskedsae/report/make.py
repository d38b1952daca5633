"""All tables, verdicts and the terminal's summary, from scores.csv."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..inference.paired import paired_difference
from ..inference.published import read_published
from ..inference.settings import Shown
from ..inference.verdicts import verdicts
from ..jobs.files import write_bytes, write_json
from ..jobs.log import log
from ..scores.table import Scores, read_rows
from .summary import summary
from .tables import make_tables
from .writers import to_csv, to_latex, to_markdown

WRITERS = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}


def write_report_tables(
    scores_csv: str | Path,
    published_files: Sequence[str],
    shown: Shown,
    tables_to: list[str],
    verdicts_to: str,
    summary_to: str,
) -> None:
    """`published_files`: those of reference/. `tables_to`: paths NAME.csv, NAME.md, NAME.tex.

    The verdicts are JSON, the summary is text.
    """
    scores, published = Scores(read_rows(scores_csv)), read_published(Path(published_files[0]).parent)
    tables = make_tables(shown, scores, published)
    for path in map(Path, tables_to):
        write_bytes(path, WRITERS[path.suffix](tables[path.stem]).encode())

    def interval(one: Path, other: Path) -> tuple[float, float]:
        paired = paired_difference(one, other, shown.ood["bootstrap"], shown.ood["seed"])
        low, high = paired["ood"]["interval"]
        return low, high

    found = verdicts(shown, scores, published, interval)
    write_json(verdicts_to, [asdict(verdict) | {"demo": shown.demo} for verdict in found])
    write_bytes(summary_to, summary(tables, scores, shown, found).encode())
    log.info("%s: the tables; in short: %s", Path(tables_to[0]).parent if tables_to else "none", summary_to)
