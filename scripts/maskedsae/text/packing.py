"""Packing a corpus into contexts of token ids, once for all streams of a model.

A finished folder holds `heldout.npy`, `train_00000.npy`, `train_00001.npy`, … (contexts x context_length) and, written
last, `manifest.json`. Its bytes depend only on the arguments of `write_tokens`, and not on `threads`.
"""

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from ..jobs.errors import InputError
from ..jobs.files import read_json, require_space, write_bytes, write_json
from ..jobs.log import log
from ..jobs.progress import Progress
from .corpus import documents, pinned
from .settings import TokenSettings
from .tokens import SCHEMA, check_file

SHARD_BYTES = 64 * 2**20
# One core takes under a tenth of a second for them, and the tokenizer about 100 bytes per character.
BATCH_CHARACTERS = 2**20 // 4

Ids = NDArray[Any]
Documents = Iterator[tuple[int, Ids]]  # the characters of each document, and its token ids


def write_tokens(
    folder: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    settings: TokenSettings,
    bos: bool,
    *,
    shard_contexts: int | None = None,
    threads: int = 1,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Pack a corpus into contexts; after a kill, the next call continues after the last finished file.

    Each document is tokenised alone, without special tokens, and followed by the separator ("bos", "eos" or "none").
    The resulting row of ids is cut into contexts, each starting with BOS if `bos`. The held-out contexts come first;
    the rest of the document in which they end is dropped, so that no document is in both parts. With `repeat`, the
    training contexts read the corpus again after the held-out documents, as often as needed.

    `check` is called before each file is written, and raises if another process has taken over the folder.
    """
    settings.check(bos)
    folder = Path(folder)
    backend = _backend(tokenizer)
    opening = [_token_id(tokenizer, "bos", "models.bos: true")] if bos else []
    ending = []
    if settings.separator != "none":
        ending = [_token_id(tokenizer, settings.separator, f"tokens.separator: {settings.separator}")]
    identity = _identity(tokenizer, backend)
    dtype = np.dtype(np.uint16 if identity["vocabulary"] <= 2**16 else np.uint32)
    context_length, corpus = settings.context_length, settings.corpus
    layout = _layout(settings, shard_contexts or SHARD_BYTES // (context_length * dtype.itemsize))
    made_of = {
        "schema": SCHEMA,
        "tokenizer": identity,
        "corpus": corpus.given(),
        "context_length": context_length,
        "separator": settings.separator,
        "bos": bos,
        "repeat": settings.repeat,
        "dtype": dtype.name,
    }
    asked = {**made_of, "layout": layout, "corpus files": [_state(path) for path in corpus.files or ()]}
    asked = json.loads(json.dumps(asked))  # as it is read back
    check()
    files, place, commit = _resumed(folder, asked)
    corpus = pinned(corpus, commit)
    made_of["corpus"] = corpus.given()

    def read(skip: int) -> Documents:
        return _tokenised(documents(corpus, skip), backend, ending, dtype, threads)

    text_length = context_length - len(opening)
    require_space(folder, _contexts(layout[len(files) :]) * context_length * dtype.itemsize, "the tokens")
    total, done = (text_length * _contexts(entries) for entries in (layout, files))
    with _serial_tokenizers(), Progress("tokens", total, "tokens", start=done) as progress:
        row = _TokenRow(read, place, settings.repeat, progress)
        for entry in layout[len(files) :]:
            ids = row.take(entry["contexts"] * text_length, dtype)
            if len(ids) < entry["contexts"] * text_length:
                raise _too_small(row, text_length)
            contexts = np.empty((entry["contexts"], context_length), dtype)
            contexts[:, : len(opening)] = opening
            contexts[:, len(opening) :] = ids.reshape(-1, text_length)
            check()
            files.append(_write_array(folder / entry["name"], contexts))
            row.begin_training()
            reached = {"asked": asked, "commit": corpus.revision, "files": files, "place": place}
            write_json(folder / "progress.json", reached)
    counts = {
        part: {"contexts": contexts, "tokens": contexts * context_length, **place[part]}
        for part, contexts in (("heldout", settings.heldout_contexts), ("train", settings.train_contexts))
    }
    check()
    write_json(folder / "manifest.json", {**made_of, **counts, "files": files})
    (folder / "progress.json").unlink(missing_ok=True)


def _backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy of the tokenizer's fast part that neither truncates nor pads, and reads "<eos>" in a text as text."""
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"tokenizer {tokenizer.name_or_path}: not a fast tokenizer (one with a tokenizer.json)")
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend


def _identity(tokenizer: PreTrainedTokenizerBase, backend: Tokenizer) -> dict[str, Any]:
    return {
        "name": Path(tokenizer.name_or_path).name,  # not a local model's whole path, which depends on the machine
        "vocabulary": max(backend.get_vocab().values()) + 1,
        "sha256": hashlib.sha256(backend.to_str().encode()).hexdigest(),
    }


def _token_id(tokenizer: PreTrainedTokenizerBase, token: str, setting: str) -> int:
    if token not in ("bos", "eos"):
        raise InputError(f"{setting} is unknown: give bos, eos or none")
    token_id = getattr(tokenizer, f"{token}_token_id")
    if token_id is None:
        raise InputError(f"{setting} needs the {token.upper()} token, which {tokenizer.name_or_path} lacks")
    return int(token_id)


def _layout(settings: TokenSettings, shard_contexts: int) -> list[dict[str, Any]]:
    """The files to write, with their contexts."""
    shard_contexts, train = max(1, shard_contexts), settings.train_contexts
    shards = [
        {"name": f"train_{number:05d}.npy", "contexts": min(shard_contexts, train - start)}
        for number, start in enumerate(range(0, train, shard_contexts))
    ]
    return [{"name": "heldout.npy", "contexts": settings.heldout_contexts}, *shards]


def _contexts(entries: list[dict[str, Any]]) -> int:
    return sum(entry["contexts"] for entry in entries)


def _state(path: str) -> list[int]:
    """Size and time of a text file: they tell whether it changed before a killed call was resumed."""
    if not os.path.exists(path):
        return []  # reading it raises the error
    return [os.stat(path).st_size, os.stat(path).st_mtime_ns]


def _resumed(folder: Path, asked: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any], str | None]:
    """The finished files of a killed call that asked for the same, the place in the corpus after them, and which commit
    of the corpus that was."""
    _remove(folder, ".*.npy.*.tmp", ".*.json.*.tmp")  # what `write_bytes` was writing when it was killed
    if (folder / "progress.json").exists():
        try:
            saved = read_json(folder / "progress.json")
            changed = [key for key in asked if saved["asked"].get(key) != asked[key]]
            if changed:
                raise InputError(f"{folder} was started with another {', '.join(changed)}")
            if "commit" not in saved:
                raise InputError(f"{folder}: was begun by an older version, which did not note the corpus's commit")
            for entry in saved["files"]:
                check_file(folder, entry)
            log.info("tokens: going on in %s after %s finished files", folder, len(saved["files"]))
            return saved["files"], saved["place"], saved["commit"]
        except InputError as error:
            log.warning("tokens: starting over, since %s", error)
    # The manifest first, so that nothing looks finished from here on.
    _remove(folder, "manifest.json", "progress.json", "heldout.npy", "train_*.npy")
    counts = {"documents": 0, "characters": 0, "document_tokens": 0}
    return [], {"document": 0, "rest": [], "heldout": counts, "train": {**counts, "epochs": 1}}, None


def _remove(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


class _TokenRow:
    """The corpus as one row of token ids; reading can stop and resume between any two of them.

    `place` is where, as plain JSON: `document` documents of this epoch have been started, and `rest` are the ids of
    the last one that are not read yet. `heldout` and `train` count what has been started for each part.
    """

    def __init__(self, read: Callable[[int], Documents], place: dict[str, Any], repeat: bool, progress: Progress):
        self.read, self.place, self.repeat, self.progress = read, place, repeat, progress
        self.part = "train" if place["heldout"]["documents"] else "heldout"
        self.rest = np.array(place["rest"], dtype=np.int64)
        self.documents = read(place["document"])

    def take(self, count: int, dtype: np.dtype[Any]) -> Ids:
        """The next `count` ids; fewer only at the end of the corpus."""
        ids, filled = np.empty(count, dtype), 0
        while filled < count and (len(self.rest) or self._next_document()):
            taken = self.rest[: count - filled]
            ids[filled : filled + len(taken)] = taken
            self.rest = self.rest[len(taken) :]
            filled += len(taken)
            self.progress.advance(len(taken))
        self.place["rest"] = self.rest.tolist()
        return ids[:filled]

    def begin_training(self) -> None:
        """Count documents as training text from here on; the rest of the last held-out document is dropped."""
        if self.part == "heldout":
            self.part, self.rest, self.place["rest"] = "train", self.rest[:0], []

    def _next_document(self) -> bool:
        counts = self.place[self.part]
        document = next(self.documents, None)
        if document is None and self.repeat and self.part == "train" and counts["document_tokens"]:
            counts["epochs"] += 1
            self.place["document"] = self.place["heldout"]["documents"]
            self.documents = self.read(self.place["document"])
            document = next(self.documents, None)
        if document is None:
            return False
        characters, self.rest = document
        self.place["document"] += 1
        counts["documents"] += 1
        counts["characters"] += characters
        counts["document_tokens"] += len(self.rest)
        return True


def _too_small(row: _TokenRow, text_length: int) -> InputError:
    counts = (row.progress.done, row.progress.total)
    found, wanted = (f"{tokens:,} tokens ({tokens // text_length:,} contexts)" for tokens in counts)
    if row.part == "train" and not row.repeat:
        remedy = "lower training.tokens, or set tokens.repeat: true to read the corpus again and again"
    else:
        remedy = "lower tokens.heldout_contexts"
    return InputError(
        f"corpus: ends within the {row.part} contexts: {found} found, {wanted} wanted: {remedy}, or give more text"
    )


def _tokenised(
    texts: Iterator[str], backend: Tokenizer, ending: list[int], dtype: np.dtype[Any], threads: int
) -> Documents:
    """For each text, in order: its length in characters, and its ids with the ending (none if it has no ids)."""

    def tokenise(batch: list[str]) -> list[tuple[int, Ids]]:
        rows = (encoding.ids for encoding in backend.encode_batch_fast(batch, add_special_tokens=False))
        arrays = (np.array(ids + ending if ids else [], dtype) for ids in rows)
        return list(zip(map(len, batch), arrays, strict=True))

    waiting: deque[Future[list[tuple[int, Ids]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch in _batches(texts):
            outsized = sum(map(len, batch)) > 4 * BATCH_CHARACTERS
            while len(waiting) > (0 if outsized else threads):
                yield from waiting.popleft().result()
            if outsized:  # in this thread: each thread of the pool would keep the 1 GB that 10 MB of text take
                yield from tokenise(batch)
            else:
                waiting.append(pool.submit(tokenise, batch))
        while waiting:
            yield from waiting.popleft().result()


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    batch, characters = [], 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


@contextmanager
def _serial_tokenizers() -> Iterator[None]:
    """One core per call, since our own threads call: the pool inside tokenizers takes every core of the machine."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        del os.environ["TOKENIZERS_PARALLELISM"]
        if before is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def _write_array(path: Path, array: Ids) -> dict[str, Any]:
    """Write a file; its entry in the manifest."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    data = buffer.getbuffer()
    write_bytes(path, data)
    return {"name": path.name, "contexts": len(array), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
