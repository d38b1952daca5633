"""SAEBench's data sets in a folder that it reads in place of the hub: a set's name is a path, and
`load_dataset(name)` looks for that path in the working directory first.

Each set is built elsewhere, moved to its place when whole, and only then recorded. One without a record is made again.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...jobs.files import read_json, sha256, write_bytes, write_json
from ...jobs.log import log
from ...jobs.typed import plain
from .rows import LANGUAGE_PAIRS
from .settings import Texts

RECORDS = "records"  # folder beside the sets, with a record of each that is whole

# SAEBench passes `languages=…`, which no packaged reader of parquet takes; hence a loading script, as in the hub's set.
CODE_SCRIPT = '''\
"""Rows of code by language, which SAEBench asks for by `languages`."""

import datasets
import pyarrow.parquet as pq


class Config(datasets.BuilderConfig):
    def __init__(self, languages=("all",), **more):
        super().__init__(name="+".join(languages), **more)
        self.languages = languages


class GithubCode(datasets.GeneratorBasedBuilder):
    BUILDER_CONFIG_CLASS = Config

    def _info(self):
        text = datasets.Value("string")
        return datasets.DatasetInfo(features=datasets.Features({"code": text, "language": text}))

    def _split_generators(self, downloads):
        path = downloads.download("rows.parquet")
        return [datasets.SplitGenerator(name=datasets.Split.TRAIN, gen_kwargs={"path": path})]

    def _generate_examples(self, path):
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=256):
            for row in batch.to_pylist():
                if row["language"] in self.config.languages or "all" in self.config.languages:
                    yield number, row
                number += 1
'''


class Folder:
    """The folder of all sets."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.records: dict[str, dict[str, Any]] = {}

    def add(
        self, name: str, identity: dict[str, Any], write: Callable[[Path], dict[str, Any]], again: bool = False
    ) -> None:
        """Make a set, unless it exists, unaltered and with the same `identity` (what decides its rows). `write(folder)`
        fills an empty folder and returns what the manifest says about it. `again`: make it in any case."""
        short = name.replace("/", "_")
        record, aside, final = self.root / RECORDS / f"{short}.json", self.root / RECORDS / short, self.root / name
        if not again and record.exists():
            known = read_json(record)
            if known["identity"] == identity and known["files"] == checksums(final):
                log.info("%s: exists already", name)
                self.records[name] = known
                return
        record.unlink(missing_ok=True)
        for left_over in (aside, final):
            shutil.rmtree(left_over, ignore_errors=True)
        aside.mkdir(parents=True)
        described = write(aside)
        final.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(final)
        self.records[name] = {"identity": identity, **described, "files": checksums(final)}
        write_json(record, self.records[name])
        rows = ", ".join(f"{sum(classes.values()):,} {split}" for split, classes in described["rows"].items())
        log.info("%s: %s rows", name, rows)

    def write_manifest(self, path: str | Path, settings: Texts) -> None:
        write_json(path, {"settings": plain(settings), "sets": self.records})


def checksums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def write_parquet(path: Path, columns: Mapping[str, Iterable[Any]]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def write_splits(folder: Path, splits: Mapping[str, Mapping[str, Iterable[Any]]]) -> None:
    """A set with the splits that SAEBench reads whole: {"train": {column: values}, "test": …}."""
    for split, columns in splits.items():
        write_parquet(folder / f"{split}.parquet", columns)


def write_europarl(folder: Path, texts: dict[str, list[dict[str, str]]]) -> None:
    """{language: rows of its pair}; the pairs are configurations, which only a README can name."""
    lines = ["---", "configs:"]
    for language, pair in LANGUAGE_PAIRS.items():
        write_parquet(folder / f"{pair}.parquet", {"translation": texts[language]})
        lines += [f"- config_name: {pair}", "  data_files:", "  - split: train", f"    path: {pair}.parquet"]
    write_bytes(folder / "README.md", "\n".join([*lines, "---", ""]).encode())


def write_code(folder: Path, rows: list[tuple[str, str]]) -> None:
    """[(language, code)], in the order in which SAEBench reads them."""
    columns = {"code": [code for _, code in rows], "language": [language for language, _ in rows]}
    write_parquet(folder / "rows.parquet", columns)
    write_bytes(folder / "github-code.py", CODE_SCRIPT.encode())
