"""The documents of a corpus, in a fixed order: a Hugging Face data set, streamed, or local files."""

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..jobs.errors import InputError, first_line
from ..jobs.hub import Repository
from ..jobs.log import log
from .settings import Corpus

# A record after its place, which messages name: ("a.jsonl line", 12, {"text": …}).
Record = tuple[str, int, dict[str, Any]]


def documents(corpus: Corpus, skip: int = 0) -> Iterator[str]:
    """The documents of `corpus`, read lazily, without the first `skip`.

    A document is the text of a record that passes the filter, if it is not empty. `skip` counts what this function
    yields, so a reader that has taken n documents continues with `skip=n`.
    """
    return itertools.islice(_documents(corpus), skip, None)


def pinned(corpus: Corpus, commit: str | None = None) -> Corpus:
    """The corpus at one commit of its repository (by default, its revision's now), so that each reading is the same."""
    if not corpus.dataset or _repository(corpus).local:
        return corpus
    return replace(corpus, revision=commit or _repository(corpus).commit())


def _documents(corpus: Corpus) -> Iterator[str]:
    text_field, wanted = corpus.text_field, corpus.filter
    records = found = empty = 0
    other_values: set[str] = set()
    try:
        for place, number, record in _records(corpus):
            records += 1
            if wanted is not None:
                value = _value(record, wanted.field, f"{place} {number}")
                if value != wanted.equals:
                    if len(other_values) < 5:
                        other_values.add(repr(value)[:60])
                    continue
            text = _text(record, text_field, f"{place} {number}")
            if text:
                found += 1
                yield text
            else:
                empty += 1
    finally:  # also when the reader stops early
        if empty:
            log.info("corpus: %s empty documents skipped, %s read", f"{empty:,}", f"{found:,}")
    if wanted and other_values and not found + empty:
        raise InputError(
            f"corpus.filter: none of {records:,} records has {wanted.field} = {wanted.equals!r}; "
            f"values that occur: {', '.join(sorted(other_values))}"
        )
    if not found:
        raise InputError(f"corpus: no text in {corpus.name} ({records:,} records, {empty:,} of them empty)")


def _text(record: dict[str, Any], field: str, where: str) -> str:
    if field not in record:
        raise InputError(f"{where}: no field {field!r}; set corpus.text_field to one of: {_fields(record)}")
    text = record[field]
    if text is None:  # one null among millions of rows must not end a long run: it is an empty document
        return ""
    if not isinstance(text, str):
        kind = type(text).__name__
        raise InputError(f"{where}: {field!r} is {kind}, not text; set corpus.text_field to one of: {_fields(record)}")
    # JSON may hold half a surrogate pair, which no tokenizer takes; a decoder would have put U+FFFD there.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _value(record: dict[str, Any], path: str, where: str) -> object:
    """The value at a dotted path: 'meta.pile_set_name' is record["meta"]["pile_set_name"]."""
    value = record
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            found = f"among the fields: {_fields(value)}" if isinstance(value, dict) else f"in {type(value).__name__}"
            raise InputError(f"{where}: corpus.filter.field: {path} not found: no {key!r} {found}")
        value = value[key]
    return value


def _fields(record: dict[str, Any]) -> str:
    return ", ".join(map(str, record))


def _records(corpus: Corpus) -> Iterator[Record]:
    if bool(corpus.dataset) == bool(corpus.files):
        raise InputError("corpus: give either corpus.dataset or corpus.files (a list with at least one file)")
    if corpus.dataset:
        yield from _dataset(corpus)
    else:
        for path in corpus.files or ():
            yield from _file(Path(path), corpus)


def _repository(corpus: Corpus) -> Repository:
    assert corpus.dataset is not None
    return Repository("dataset", corpus.dataset, corpus.revision, "corpus.dataset", "corpus.revision")


def _dataset(corpus: Corpus) -> Iterator[Record]:
    from datasets import load_dataset  # slow to import, and not needed for local files

    repository, split = _repository(corpus), corpus.split or "train"

    def begin() -> Any:
        try:
            return load_dataset(
                repository.name, name=corpus.subset, split=split, revision=corpus.revision, streaming=True
            )
        except ValueError as error:
            if not any(word in str(error) for word in ("BuilderConfig", "Unknown split", "Bad split")):
                raise
            raise InputError(  # datasets' message names what there is
                f"corpus.subset, corpus.split: {repository.name} has no {corpus.subset or 'default'}, {split}: "
                f"{first_line(error)}"
            ) from error

    for number, record in enumerate(repository.read(begin), 1):
        yield f"dataset {repository.name} record", number, record


def _file(path: Path, corpus: Corpus) -> Iterator[Record]:
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    kind = Path(path.stem).suffix if compression else path.suffix
    readers = {".txt": _whole, ".jsonl": _json_lines, ".csv": _csv_rows}
    if kind not in readers and path.suffix != ".parquet":
        known = ".txt, .jsonl, .csv (each also compressed: .gz, .zst) and .parquet"
        raise InputError(f"corpus.files: {path}: unknown kind of file; known are {known}")
    if not path.is_file():
        raise InputError(f"corpus.files: {path} is not a file here ({Path.cwd()})")
    try:
        if path.suffix == ".parquet":
            yield from _parquet_rows(path, corpus)
            return
        # Arrow reads files of several compressed frames and raises on truncated ones; zstandard's default is neither.
        stream = pa.input_stream(str(path), compression=compression)
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="" if kind == ".csv" else "\n") as lines:
            yield from readers[kind](path, lines, corpus)
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8, or Arrow's own
        raise InputError(f"corpus.files: {path} cannot be read: {first_line(error)}") from error


def _whole(path: Path, lines: io.TextIOWrapper, corpus: Corpus) -> Iterator[Record]:
    yield f"{path} document", 1, {corpus.text_field: lines.read()}


def _json_lines(path: Path, lines: io.TextIOWrapper, corpus: Corpus) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"corpus.files: {path} line {number} is not valid JSON: {error}") from error
        if not isinstance(record, dict):
            raise InputError(f"corpus.files: {path} line {number} is not a JSON object with named fields")
        yield f"{path} line", number, record


def _csv_rows(path: Path, lines: io.TextIOWrapper, corpus: Corpus) -> Iterator[Record]:
    csv.field_size_limit(sys.maxsize)  # the default refuses texts over 131,072 characters
    for number, record in enumerate(csv.DictReader(lines), 1):
        yield f"{path} row", number, record


def _parquet_rows(path: Path, corpus: Corpus) -> Iterator[Record]:
    wanted = {corpus.text_field}
    if corpus.filter:
        wanted.add(corpus.filter.field.split(".")[0])
    with pq.ParquetFile(path) as file:
        # All columns where one is missing, so that the message can name those that exist.
        columns = sorted(wanted) if wanted <= set(file.schema_arrow.names) else None
        number = 0
        for batch in file.iter_batches(batch_size=64, columns=columns):  # 64: documents of 10 MB exist
            for record in batch.to_pylist():
                number += 1
                yield f"{path} row", number, record
