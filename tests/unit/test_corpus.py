"""Documents from every kind of source, and one clear line for everything that can be wrong with one."""

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from maskedsae.jobs.errors import InputError
from maskedsae.jobs.typed import read as typed_read
from maskedsae.text.corpus import documents
from maskedsae.text.settings import Corpus

SCRIPTS = Path(__file__).parents[2] / "scripts"
TEXTS = ["one", 'two "quoted", and\na second line', "drei \u2028 \U0001f984 \r\n", "x" * 300_000, " "]
PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def records(texts=TEXTS) -> list[dict]:
    return [{"text": text, "n": n, "meta": {"set": "odd" if n % 2 else "even"}} for n, text in enumerate(texts)]


def as_jsonl(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_csv(path: Path, texts: list[str]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(texts)])
    return path


def corpus_of(given: dict) -> Corpus:
    return typed_read(Corpus, given)


def read(*paths: Path, **more) -> list[str]:
    return list(documents(corpus_of({"files": [str(path) for path in paths], **more})))


def error(corpus: dict) -> str:
    with pytest.raises(InputError) as raised:
        list(documents(corpus_of(corpus)))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def file_error(path: Path, **more) -> str:
    return error({"files": [str(path)], **more})


@pytest.mark.parametrize("packing", PACK)
def test_jsonl_and_csv(tmp_path, packing):
    jsonl, table = tmp_path / f"a.jsonl{packing}", tmp_path / f"a.csv{packing}"
    jsonl.write_bytes(PACK[packing](as_jsonl(records())))
    table.write_bytes(PACK[packing](write_csv(tmp_path / "plain.csv", TEXTS).read_bytes()))
    assert read(jsonl) == TEXTS
    assert read(table) == TEXTS


def test_parquet_in_batches_and_text_whole(tmp_path):
    many = [f"text {n}" for n in range(1000)]
    pq.write_table(pa.Table.from_pylist(records(many)), tmp_path / "a.parquet", row_group_size=300)
    (tmp_path / "a.txt").write_bytes(TEXTS[2].encode())
    assert read(tmp_path / "a.parquet") == many
    assert read(tmp_path / "a.txt") == [TEXTS[2]]


def test_several_frames_are_read_to_the_end(tmp_path):
    # as parallel compressors write them, and `cat a.zst b.zst`
    for packing in (".gz", ".zst"):
        path = tmp_path / f"a.jsonl{packing}"
        path.write_bytes(b"".join(PACK[packing](as_jsonl([row])) for row in records()))
        assert read(path) == TEXTS


def test_files_in_the_order_given_and_skip(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_bytes(as_jsonl(records([f"{name}{n}" for n in range(3)])))
    corpus = {"files": [str(tmp_path / "b.jsonl"), str(tmp_path / "a.jsonl")]}
    everything = ["b0", "b1", "b2", "a0", "a1", "a2"]
    for skip in range(8):
        assert list(documents(corpus_of(corpus), skip)) == everything[skip:]
    even = {**corpus, "filter": {"field": "meta.set", "equals": "even"}}
    assert list(documents(corpus_of(even))) == ["b0", "b2", "a0", "a2"]
    assert list(documents(corpus_of(even), 3)) == ["a2"]


def test_documents_are_read_lazily(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(as_jsonl(records()) + b"{broken")
    assert next(documents(corpus_of({"files": [str(tmp_path / "a.jsonl")]}))) == TEXTS[0]


def test_empty_documents_are_skipped_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "a.jsonl").write_bytes(as_jsonl(records(["a", "", "b", None])) + b"\n\n")
    assert read(tmp_path / "a.jsonl") == ["a", "b"]
    assert "2 empty documents skipped, 2 read" in caplog.text


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b \\ud83e\\udd84"}')
    assert read(tmp_path / "a.jsonl") == ["a\ufffdb \U0001f984"]


def test_dataset_from_a_local_folder(tmp_path, monkeypatch):
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(records()), folder / "train.parquet")
    odd = {"field": "meta.set", "equals": "odd"}
    corpus = {"dataset": str(folder), "subset": None, "revision": None, "split": "train", "filter": None, "files": None}
    assert list(documents(corpus_of(corpus))) == TEXTS
    assert list(documents(corpus_of({"dataset": str(folder), "filter": odd}), skip=1)) == TEXTS[3:4]
    monkeypatch.chdir(tmp_path)  # SAEBench's data sets are served in this way
    assert list(documents(corpus_of({"dataset": "owner/name"}))) == TEXTS

    assert "nope" in error({**corpus, "split": "nope"})
    assert "nope" in error({**corpus, "subset": "nope"})
    assert "set corpus.text_field to one of: text, n, meta" in error({**corpus, "text_field": "body"})


def test_dataset_that_is_not_there():
    code = "from maskedsae.text.corpus import documents\n"
    code += "from maskedsae.text.settings import Corpus; next(documents(Corpus(dataset='no/such')))"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert "InputError: corpus.dataset: no/such is not on this machine, and HF_HUB_OFFLINE forbids fetching it" in last


def test_wrong_files(tmp_path):
    assert "gone.txt is not a file" in file_error(tmp_path / "gone.txt")
    for name in ("a.docx", "a", "a.parquet.gz", "a.zst"):
        assert f"{name}: unknown kind of file; known are .txt" in file_error(tmp_path / name)
    for packing in (".gz", ".zst"):
        path = tmp_path / f"a.jsonl{packing}"
        path.write_bytes(PACK[packing](os.urandom(30_000).hex().encode())[:-5000])
        assert f"{path.name} cannot be read: " in file_error(path)
        path.write_bytes(b"not compressed at all")
        assert f"{path.name} cannot be read: " in file_error(path)
    (tmp_path / "a.parquet").write_bytes(b"not parquet")
    assert "a.parquet cannot be read: " in file_error(tmp_path / "a.parquet")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    assert "latin.txt cannot be read: " in file_error(tmp_path / "latin.txt")


def test_wrong_records(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_jsonl(records()) + b'{"text": \n')
    assert f"{path} line 6 is not valid JSON" in file_error(path)
    path.write_text('{"text": "a"}\n["b"]')
    assert f"{path} line 2 is not a JSON object" in file_error(path)
    path.write_text('{"text": "a"}\n{"body": "b", "n": 1}')
    assert file_error(path) == f"{path} line 2: no field 'text'; set corpus.text_field to one of: body, n"
    path.write_text('{"text": {"en": "a"}}')
    assert "line 1: 'text' is dict, not text; set corpus.text_field" in file_error(path)
    assert "row 1: no field 'body'" in file_error(write_csv(tmp_path / "a.csv", ["a"]), text_field="body")
    pq.write_table(pa.Table.from_pylist(records()), tmp_path / "a.parquet")
    assert "row 1: no field 'body'; set corpus.text_field to one of: text, n, meta" in file_error(
        tmp_path / "a.parquet", text_field="body"
    )


def test_wrong_filter(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_jsonl(records()))
    assert "corpus.filter.field: metta.set not found: no 'metta' among the fields: text, n, meta" in file_error(
        path, filter={"field": "metta.set", "equals": "odd"}
    )
    assert "no 'name' among the fields: set" in file_error(path, filter={"field": "meta.name", "equals": "odd"})
    assert "no 'name' in int" in file_error(path, filter={"field": "n.name", "equals": "odd"})
    nothing = file_error(path, filter={"field": "meta.set", "equals": "Odd"})
    assert "none of 5 records has meta.set = 'Odd'; values that occur: 'even', 'odd'" in nothing


def test_empty_or_ambiguous_corpus(tmp_path):
    (tmp_path / "a.txt").touch()
    assert f"no text in {tmp_path / 'a.txt'} (1 records, 1 of them empty)" in file_error(tmp_path / "a.txt")
    for corpus in ({}, {"files": []}, {"dataset": None, "files": None}, {"dataset": "a/b", "files": ["a.txt"]}):
        assert "give either corpus.dataset or corpus.files" in error(corpus)
