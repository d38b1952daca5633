"""All tables, verdicts and the terminal's summary, from scores.csv."""

from dataclasses import asdict
from pathlib import Path

from ..files import write_bytes, write_json
from ..ood.intervals import paired_difference
from .published import read_published
from .scores import Scores, read_rows
from .summary import summary
from .tables import make_tables
from .verdicts import ORACLE, Cell, streams_by_p, verdicts
from .writers import to_csv, to_latex, to_markdown

WRITERS = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}


def write_report_tables(scores_csv: str | Path, reference: str | Path, settings: dict, to: dict) -> None:
    """`to` says where: tables (paths NAME.csv, NAME.md, NAME.tex), verdicts (JSON) and summary (text)."""
    scores, published = Scores(read_rows(scores_csv)), read_published(reference)
    tables = make_tables(settings, scores, published)
    for path in map(Path, to["tables"]):
        write_bytes(path, WRITERS[path.suffix](tables[path.stem]).encode())
    found = verdicts(settings, scores, published, ood_interval(settings, scores))
    write_json(to["verdicts"], [asdict(verdict) | {"demo": settings["demo"]} for verdict in found])
    write_bytes(to["summary"], summary(tables, scores, settings["seeds"], found).encode())


def ood_interval(settings: dict, scores: Scores):
    """The paired bootstrap of mean AUCs out of distribution, of two SAEs or the oracle, by rows that both scored."""
    stream_of = streams_by_p(settings)

    def rows(model: str, trainer: str, seed: int, cell: Cell) -> Path:
        if cell == ORACLE:
            return Path(scores.oracle_row(model).source).with_name("oracle_rows.csv")
        p, l0 = cell
        return Path(scores.row(model, stream_of[p], trainer, l0, seed, "ood.auc").source).with_name("ood_rows.csv")

    def interval(model: str, trainer: str, seed: int, one: Cell, other: Cell) -> tuple[float, float]:
        files = [rows(model, trainer, seed, cell) for cell in (one, other)]
        paired = paired_difference(*files, settings["ood"]["bootstrap"], settings["ood"]["seed"])
        low, high = paired["ood"]["interval"]
        return low, high

    return interval
