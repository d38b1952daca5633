"""Packing is exact, independent of how it is done, survives kill -9, and is not believed when it is damaged."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from conftest import CHECKED, COMPUTE, token_settings, unchecked
from maskedsae.activations.tokenising import tokenise
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import write_json
from maskedsae.jobs.leases import Lease, LeaseLost
from maskedsae.jobs.typed import plain
from maskedsae.text import packing as module
from maskedsae.text.packing import write_tokens
from maskedsae.text.settings import Corpus, TokenSettings
from maskedsae.text.tokens import Tokens

SCRIPTS = Path(__file__).parents[2] / "scripts"
SPECIAL = ["<bos>", "<eos>"]
WORDS = ["the", "cat", "sat", "on", "a", "mat;", "der", "Hund", "läuft,", "日本語", "🦄\n"]


def make_tokenizer(**special) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([" ".join(WORDS)] * 10, trainer)
    special = special or {"bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, name_or_path="/models/tiny", **special)


TOKENIZER = make_tokenizer()
BOS, EOS = TOKENIZER.bos_token_id, TOKENIZER.eos_token_id


def write_corpus(folder: Path, texts: list[str]) -> Corpus:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Corpus(files=(str(path),))


def some_texts(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices([*WORDS, *SPECIAL], k=chance.randint(1, 40))) for _ in range(count)]


def pack(folder: Path, corpus: Corpus, **changes) -> Tokens:
    tokenizer, bos = changes.pop("tokenizer", TOKENIZER), changes.pop("bos", False)
    how = {key: changes.pop(key) for key in ("threads", "shard_contexts", "check") if key in changes}
    write_tokens(folder, tokenizer, settings_for(corpus, **changes), bos, **how)
    return Tokens.open(folder)


def settings_for(corpus: Corpus, **changes) -> TokenSettings:
    usual = {"context_length": 8, "train_contexts": 20, "heldout_contexts": 3, "separator": "eos"}
    return TokenSettings(corpus=corpus, **{"repeat": False, "drop_bos": False} | usual | changes)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def text_ids(text: str) -> list[int]:
    """Byte-level BPE without any special token: '<eos>' is made of its letters."""
    plain = Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str())
    plain.encode_special_tokens = True
    ids = plain.encode(text, add_special_tokens=False).ids
    assert not {BOS, EOS} & set(ids)
    return ids


documents_of_any_kind = st.lists(
    st.lists(st.sampled_from([*SPECIAL, *WORDS, " ", "\r\n"]) | st.text(max_size=8), min_size=1).map("".join)
).map(lambda texts: [text.encode("utf-8", "replace").decode() for text in texts if text])


@settings(max_examples=60, deadline=None)
@given(
    texts=documents_of_any_kind,
    separator=st.sampled_from(["bos", "eos", "none"]),
    bos=st.booleans(),
    shard=st.integers(1, 4),
    threads=st.integers(1, 3),
    batch=st.integers(1, 40),
    heldout=st.integers(1, 3),
)
def test_packing_is_the_naive_concatenation(tmp_path_factory, texts, separator, bos, shard, threads, batch, heldout):
    folder, length = tmp_path_factory.mktemp("tokens"), 5
    text_length = length - bos
    ends = {"bos": [BOS], "eos": [EOS], "none": []}[separator]
    rows = [text_ids(text) + ends for text in texts]
    held, used = [], 0
    while len(held) < heldout * text_length and used < len(rows):
        held += rows[used]
        used += 1
    train = [number for row in rows[used:] for number in row]
    contexts = len(train) // text_length

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_CHARACTERS", batch)
        arguments = {"context_length": length, "heldout_contexts": heldout, "separator": separator, "bos": bos}
        arguments |= {"shard_contexts": shard, "threads": threads}
        corpus = write_corpus(folder, texts)
        if len(held) < heldout * text_length or not contexts:
            with pytest.raises(InputError, match=r"no text in|ends within the (heldout|train) contexts"):
                pack(folder / "out", corpus, train_contexts=1, **arguments)
            return
        made = pack(folder / "out", corpus, train_contexts=contexts, **arguments)

    def expected(ids: list[int], count: int) -> np.ndarray:
        cut = np.array(ids[: count * text_length]).reshape(count, text_length)
        return np.hstack([np.full((count, int(bos)), BOS), cut])

    np.testing.assert_array_equal(made.heldout(0, heldout), expected(held, heldout))
    np.testing.assert_array_equal(made.contexts(0, contexts), expected(train, contexts))


def test_bytes_do_not_depend_on_threads_or_batches(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path, some_texts(100))
    pack(tmp_path / "0", corpus, train_contexts=150, shard_contexts=40)
    for number, (threads, batch) in enumerate([(1, 1), (3, 50), (2, 10**9)], 1):
        monkeypatch.setattr(module, "BATCH_CHARACTERS", batch)
        pack(tmp_path / f"{number}", corpus, train_contexts=150, shard_contexts=40, threads=threads)
        assert everything(tmp_path / f"{number}") == everything(tmp_path / "0")


def test_shards_are_one_row_of_contexts(tmp_path):
    corpus = write_corpus(tmp_path, some_texts(100))
    one = pack(tmp_path / "one", corpus, train_contexts=50)
    many = pack(tmp_path / "many", corpus, train_contexts=50, shard_contexts=7)
    assert (one.n_train, one.n_heldout, one.context_length) == (50, 3, 8)
    assert len(list((tmp_path / "many").glob("train_*.npy"))) == 8
    for start, stop in [(0, 50), (0, 7), (6, 8), (13, 36), (49, 50), (20, 20)]:
        assert many.contexts(start, stop).dtype == np.int64
        np.testing.assert_array_equal(many.contexts(start, stop), one.contexts(0, 50)[start:stop])
    for start, stop in [(-1, 2), (0, 51), (3, 2)]:
        with pytest.raises(IndexError):
            one.contexts(start, stop)
    with pytest.raises(IndexError):
        one.heldout(0, 4)


def test_no_document_is_both_held_out_and_trained_on(tmp_path):
    texts = ["a" * 30, "b" * 30, "c" * 30]
    made = pack(tmp_path / "out", write_corpus(tmp_path, texts), heldout_contexts=1, train_contexts=7, separator="none")
    assert set("".join(TOKENIZER.convert_ids_to_tokens(made.heldout(0, 1).flatten()))) == {"a"}
    assert set("".join(TOKENIZER.convert_ids_to_tokens(made.contexts(0, 7).flatten()))) == {"b", "c"}


def test_repeat_starts_behind_the_held_out_documents(tmp_path):
    texts = ["a" * 30, "b" * 30, "c" * 15]
    corpus = write_corpus(tmp_path, texts)
    changes = {"heldout_contexts": 1, "train_contexts": 30, "shard_contexts": 4, "repeat": True}
    made = pack(tmp_path / "out", corpus, **changes)
    epoch = [*text_ids(texts[1]), EOS, *text_ids(texts[2]), EOS]
    np.testing.assert_array_equal(made.contexts(0, 30).flatten(), np.resize(epoch, 30 * 8))
    epochs = -(-30 * 8 // len(epoch))
    counts = made.manifest["train"]
    assert (counts["epochs"], counts["tokens"], counts["contexts"]) == (epochs, 240, 30)
    assert made.manifest["heldout"]["documents"] == 1
    assert made.manifest["heldout"]["characters"] == 30

    with pytest.raises(InputError, match="ends within the train contexts"):  # nothing is left to repeat
        pack(tmp_path / "none", write_corpus(tmp_path, texts[:1]), **changes)


def test_corpus_too_small(tmp_path):
    corpus = write_corpus(tmp_path, ["a" * 50] * 4)
    per_document = len(text_ids("a" * 50)) + 1
    with pytest.raises(InputError) as raised:
        pack(tmp_path / "out", corpus, train_contexts=1000, heldout_contexts=1)
    found = 8 + 3 * per_document
    message = str(raised.value)
    assert f"{found} tokens ({found // 8} contexts) found, 8,008 tokens (1,001 contexts) wanted" in message
    assert "training.tokens" in message and "tokens.repeat: true" in message
    assert not (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(InputError, match=r"within the heldout contexts: .* lower tokens.heldout_contexts"):
        pack(tmp_path / "out", corpus, heldout_contexts=1000)


def test_manifest(tmp_path):
    made = pack(tmp_path / "out", write_corpus(tmp_path, some_texts(50)), bos=True, separator="bos")
    manifest = made.manifest
    assert manifest["tokenizer"]["name"] == "tiny"
    assert manifest["tokenizer"]["vocabulary"] == len(TOKENIZER)
    assert manifest["tokenizer"]["sha256"] == hashlib.sha256(TOKENIZER.backend_tokenizer.to_str().encode()).hexdigest()
    assert manifest["dtype"] == "uint16"
    for entry in manifest["files"]:
        data = (tmp_path / "out" / entry["name"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        array = np.load(tmp_path / "out" / entry["name"], mmap_mode="r")
        assert array.dtype == np.uint16 and array.flags.c_contiguous and array.shape == (entry["contexts"], 8)
        assert (array[:, 0] == BOS).all()
    assert not (tmp_path / "out" / "progress.json").exists()


def test_large_vocabularies_take_four_bytes(tmp_path):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([f"word{n}" for n in range(2**16)])
    last = f"word{2**16 - 1}"
    made = pack(tmp_path / "out", write_corpus(tmp_path, [last * 300] * 2), tokenizer=tokenizer)
    assert made.manifest["dtype"] == "uint32"
    assert made.contexts(0, 1).max() == tokenizer.convert_tokens_to_ids(last) >= 2**16


def test_the_callers_tokenizer_neither_decides_nor_changes(tmp_path):
    corpus = write_corpus(tmp_path, some_texts(50))
    plain = pack(tmp_path / "plain", corpus)
    tokenizer = make_tokenizer(bos_token="<bos>", eos_token="<eos>", pad_token="<eos>")
    tokenizer("to set truncation and padding", truncation=True, max_length=3, padding="max_length")
    before = tokenizer.backend_tokenizer.to_str()
    environment = dict(os.environ)
    pack(tmp_path / "set", corpus, tokenizer=tokenizer)
    assert everything(tmp_path / "set") == everything(tmp_path / "plain")
    assert tokenizer.backend_tokenizer.to_str() == before
    assert tokenizer.backend_tokenizer.encode_special_tokens is False
    assert dict(os.environ) == environment
    assert BOS not in plain.contexts(0, 20)  # although the texts hold the string '<bos>'


def test_one_outsized_document(tmp_path):
    text = " ".join(random.Random(0).choices(WORDS, k=400_000))
    assert len(text) > 5 * module.BATCH_CHARACTERS
    ids = text_ids(text)
    contexts = len(ids) // 64
    corpus = write_corpus(tmp_path, ["held out " * 40, text, "behind"])
    made = pack(tmp_path / "out", corpus, context_length=64, heldout_contexts=1, train_contexts=contexts, threads=2)
    np.testing.assert_array_equal(made.contexts(0, contexts).flatten(), ids[: contexts * 64])


def test_wrong_arguments(tmp_path):
    corpus = write_corpus(tmp_path, some_texts(50))
    bare = make_tokenizer(pad_token="<eos>")
    for changes, message in [
        ({"tokenizer": bare, "separator": "eos"}, "tokens.separator: eos needs the EOS token, which /models/tiny"),
        ({"tokenizer": bare, "separator": "none", "bos": True}, "models.bos: true needs the BOS token"),
        ({"separator": "newline"}, "tokens.separator: newline is unknown: give bos, eos or none"),
        ({"train_contexts": 0}, "at least one training and one held-out context"),
        ({"context_length": 1, "bos": True}, "with room for text"),
    ]:
        with pytest.raises(InputError, match=message):
            pack(tmp_path / "out", corpus, **changes)


def test_damage_is_named(tmp_path):
    pack(tmp_path, write_corpus(tmp_path, some_texts(50)), shard_contexts=7)
    shard = tmp_path / "train_00001.npy"
    whole = shard.read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            Tokens.open(tmp_path)

    shard.write_bytes(whole[:-10])
    refused(r"train_00001.npy has 230 bytes, not 240 \(truncated\?\): remove .* the tokens are made again")
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused("train_00001.npy was altered")
    assert Tokens.open(tmp_path, verify=False).n_train == 20
    shard.unlink()
    refused("train_00001.npy is missing")
    shard.write_bytes(whole)
    Tokens.open(tmp_path)

    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 99'))
    refused("schema 99, not 1")
    manifest.write_text("{")
    refused("not valid JSON")
    manifest.unlink()
    refused("manifest.json is missing: these tokens were not made, or not completely")


def stop_after(monkeypatch, files: int) -> None:
    """Breaks off as a kill would, behind the given number of finished files."""
    written = iter(range(files))
    whole = module._write_array

    def write(path: Path, array: np.ndarray) -> dict:
        if next(written, None) is None:
            raise KeyboardInterrupt
        return whole(path, array)

    monkeypatch.setattr(module, "_write_array", write)


@pytest.mark.parametrize("files", range(7))
def test_a_broken_call_is_taken_up(tmp_path, monkeypatch, caplog, files):
    caplog.set_level("INFO")
    corpus = write_corpus(tmp_path, some_texts(12))
    changes = {"train_contexts": 200, "shard_contexts": 40, "repeat": True}
    pack(tmp_path / "at once", corpus, **changes)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, files)
        pack(tmp_path / "broken", corpus, **changes)
        raise KeyboardInterrupt  # behind the sixth, which is the last
    assert (tmp_path / "broken" / "manifest.json").exists() == (files == 6)
    pack(tmp_path / "broken", corpus, **changes)
    assert everything(tmp_path / "broken") == everything(tmp_path / "at once")
    assert ("going on" in caplog.text) == (0 < files < 6)


def test_what_does_not_fit_is_made_again(tmp_path, monkeypatch, caplog):
    corpus = write_corpus(tmp_path, some_texts(60))
    folder, changes = tmp_path / "out", {"train_contexts": 60, "shard_contexts": 20}

    def break_off(**other) -> None:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_after(patch, 3)
            pack(folder, corpus, **{**changes, **other})
        caplog.clear()

    pack(tmp_path / "fresh", corpus, **changes)
    break_off(separator="none")
    pack(folder, corpus, **changes)
    assert "starting over" in caplog.text and "separator" in caplog.text
    assert everything(folder) == everything(tmp_path / "fresh")

    break_off()
    assert not (folder / "manifest.json").exists()  # an older, finished call's must not vouch for new files
    (folder / "train_00001.npy").write_bytes((folder / "train_00000.npy").read_bytes())
    pack(folder, corpus, **changes)
    assert "starting over" in caplog.text and "train_00001.npy was altered" in caplog.text
    assert everything(folder) == everything(tmp_path / "fresh")

    break_off()
    corpus = write_corpus(tmp_path, some_texts(60, seed=1))
    pack(folder, corpus, **changes)
    assert "starting over" in caplog.text and "corpus files" in caplog.text
    pack(tmp_path / "fresh", corpus, **changes)
    assert everything(folder) == everything(tmp_path / "fresh")


ENDLESS = """
import json, sys
from transformers import PreTrainedTokenizerFast
from maskedsae.jobs.typed import read
from maskedsae.text.packing import write_tokens
from maskedsae.text.settings import TokenSettings
folder, tokenizer, settings = sys.argv[1], sys.argv[2], read(TokenSettings, json.loads(sys.argv[3]))
print("ready", flush=True)
write_tokens(folder, PreTrainedTokenizerFast.from_pretrained(tokenizer), settings, True, shard_contexts=200, threads=2)
"""


def test_kill_at_any_moment(tmp_path):
    TOKENIZER.save_pretrained(tmp_path / "tokenizer")
    corpus = write_corpus(tmp_path, some_texts(3000))
    settings = settings_for(corpus, context_length=32, train_contexts=12_000, heldout_contexts=50, repeat=True)
    command = [sys.executable, "-c", ENDLESS, tmp_path / "killed", tmp_path / "tokenizer", json.dumps(plain(settings))]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    kills = 0
    for moment in (0.1, 0.25, 0.4):  # of about a second
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        with process.stdout as output:
            assert output.readline() == b"ready\n"
            time.sleep(moment)
            process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / "tokenizer")
    write_tokens(tmp_path / "at once", tokenizer, settings, True, shard_contexts=200, threads=2)
    assert everything(tmp_path / "killed") == everything(tmp_path / "at once")


def test_the_lease_is_checked_before_every_file(facts, corpus_file, tmp_path, writes):
    write_json(tmp_path / "model.json", plain(facts["gpt_neox"]))
    writes.clear()
    tokenise(tmp_path / "tokens/manifest.json", tmp_path / "model.json", token_settings(corpus_file), COMPUTE)
    assert [path.name for path in writes if path != CHECKED] == [
        *("heldout.npy", "progress.json", "train_00000.npy", "progress.json", "manifest.json")
    ]
    assert unchecked(writes) == ["progress.json", "progress.json"]  # each right after the file that it tells of
    assert writes[:2] == [CHECKED, CHECKED]  # before old files are removed, too


def test_a_folder_that_another_has_taken_over_is_not_written(tmp_path):
    """Its lease is replaced while the second shard is made: that shard is not written, nor a manifest."""
    folder, checks = tmp_path / "tokens", []

    def check():
        checks.append(None)
        if len(checks) == 3:  # before the held-out contexts, the first shard, the second
            (folder / "lease.json").write_text(json.dumps({"token": "another"}))
        lease.check()

    with Lease(folder) as lease, pytest.raises(LeaseLost):
        pack(folder, write_corpus(tmp_path, some_texts(60)), shard_contexts=5, check=check)
    names = {path.name for path in folder.iterdir()}
    assert "heldout.npy" in names and "manifest.json" not in names
    assert "train_00001.npy" not in names


def test_the_digest_is_of_the_contexts_however_they_are_cut_into_files(tmp_path):
    corpus = write_corpus(tmp_path, some_texts(60))
    whole = pack(tmp_path / "whole", corpus)
    parts = pack(tmp_path / "parts", corpus, shard_contexts=3)
    longer = pack(tmp_path / "longer", corpus, train_contexts=25)
    assert whole.digest() == parts.digest() == longer.first(20).digest() != longer.digest()
    assert whole.first(19).digest() != whole.digest()
    assert longer.first(20).n_train == 20 and whole.first(30).n_train == 20
    other = pack(tmp_path / "other", write_corpus(tmp_path, some_texts(60, seed=1)))
    assert other.digest() != whole.digest()
