import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from maskedsae.jobs.errors import InputError
from maskedsae.text.sae_probes_data import OOD_SETS, data_folder
from maskedsae.world import language_model
from maskedsae.world.architectures import build_model, scale_residual_stream
from maskedsae.world.language_model import train_language_model
from maskedsae.world.settings import LanguageModelSettings, LanguageModelTraining
from maskedsae.world.spelling import ANSWER, TEXT, WORD, Speller
from maskedsae.world.text import LEFT_OUT, write_corpus
from maskedsae.world.tokenizer import LETTERS, train_tokenizer

FAMILIES = ("gpt_neox", "gemma2")
SETTINGS = {
    "vocabulary": 2048,
    "layers": 2,
    "width": 16,
    "heads": 2,
    "context": 48,
    "batch": 3,
    "spelling_rows": 1,
    "steps": 3,
    "lr": 3e-3,
}


def settings(family: str, **change) -> LanguageModelSettings:
    return LanguageModelSettings(family, LanguageModelTraining(**SETTINGS | change), seed=0, code={})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "corpus.jsonl"
    write_corpus(path, characters=1_000_000, seed=0)
    return path


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    train_tokenizer(corpus, folder, request.param, 2048)
    return AutoTokenizer.from_pretrained(folder)


def test_corpus_has_the_size_asked_for_and_no_document_twice(corpus):
    texts = [json.loads(line)["text"] for line in corpus.read_text(encoding="utf-8").splitlines()]
    assert 1_000_000 <= sum(map(len, texts)) < 1_003_000
    assert len(set(texts)) == len(texts)


def test_corpus_is_the_same_bytes_for_the_same_arguments(corpus, tmp_path):
    write_corpus(tmp_path / "again.jsonl", characters=1_000_000, seed=0)
    assert (tmp_path / "again.jsonl").read_bytes() == corpus.read_bytes()


def test_too_large_a_corpus_is_refused(tmp_path):
    with pytest.raises(InputError, match="characters"):
        write_corpus(tmp_path / "corpus.jsonl", characters=10**9, seed=0)


def test_ood_sets_stay_out_of_the_largest_corpus(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", characters=25_000_000, seed=1)
    with open(tmp_path / "corpus.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert not {row["source"] for row in rows} & {*OOD_SETS, *LEFT_OUT}
    texts = {row["text"] for row in rows}
    data = data_folder()
    for name in OOD_SETS:
        for path in (data / "cleaned_data" / f"{name}.csv.zst", data / "OOD data" / f"{name}_OOD.csv.zst"):
            prompts = set(pd.read_csv(path)["prompt"].astype(str).str.slice(0, 2_000))
            assert not prompts & texts, path.name


def test_mask_and_template_are_single_tokens(tokenizer):
    for text in ("...", " ...", " has", " the", " first", " letter", ":", "\n", *(f" {letter}" for letter in LETTERS)):
        assert len(tokenizer.encode(text, add_special_tokens=False)) == 1, text


def test_only_gemma_begins_with_bos(tokenizer):
    ids = tokenizer.encode("Hello")
    if tokenizer.bos_token == "<bos>":
        assert ids[0] == tokenizer.bos_token_id
        assert (tokenizer.pad_token, tokenizer.eos_token) == ("<pad>", "<eos>")
    else:
        assert tokenizer.bos_token == tokenizer.eos_token == "<|endoftext|>"
        assert tokenizer.bos_token_id not in ids


def test_text_survives_the_tokenizer(tokenizer):
    text = "wait ... what...\n  Ünïcödé, 漢字 and\ttabs "
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_every_letter_has_words_enough_for_a_probe(tokenizer):
    counts = [len(ids) for ids in Speller(tokenizer).ids_by_letter]
    assert min(counts) >= 10
    assert sum(counts) >= 1_300


def test_spelling_rows_are_saebenchs_prompts(tokenizer):
    ids, kinds = Speller(tokenizer).rows(4, 48, np.random.default_rng(0))
    for row, kind in zip(ids, kinds, strict=True):
        text = tokenizer.decode(row).removeprefix(tokenizer.bos_token)
        word, letter = text.split("\n")[1].split(" has the first letter: ")
        assert letter == word.strip()[0].upper()
        first = list(kind).index(ANSWER)
        assert kind[first - 6] == WORD  # SAEBench reads at -6, counted from the colon


def test_scaling_the_residual_stream_changes_no_prediction(tokenizer):
    family = "gemma2" if tokenizer.bos_token == "<bos>" else "gpt_neox"
    torch.manual_seed(0)
    model = build_model(family, tokenizer, layers=3, width=16, heads=2, context=48).eval()
    ids = torch.randint(3, 2_000, (2, 48))
    scale_residual_stream(model, 100.0)  # first weights are so small that the norms' epsilon would show
    with torch.no_grad():
        before = model(input_ids=ids, output_hidden_states=True)
        scale_residual_stream(model, 8.0)
        after = model(input_ids=ids, output_hidden_states=True)
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after.hidden_states[2], 8 * before.hidden_states[2], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_gives_a_loadable_model_and_the_same_weights_twice(corpus, family, tmp_path):
    for name in ("one", "two"):
        train_language_model(corpus, tmp_path / name / "config.json", settings(family), threads=1)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    ids = AutoTokenizer.from_pretrained(tmp_path / "one")("some text", return_tensors="pt").input_ids
    assert model.config.model_type == family
    assert torch.isfinite(model(input_ids=ids).logits).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_without_spelling_rows_nothing_about_letters_is_put_into_the_model(corpus, family, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("letters")

    for name in ("share_letters", "Speller"):
        monkeypatch.setattr(language_model, name, refuse)
    read = []
    losses = language_model.losses_by_kind
    monkeypatch.setattr(language_model, "losses_by_kind", lambda *given: read.append(given) or losses(*given))
    to = tmp_path / "model" / "config.json"
    train_language_model(corpus, to, settings(family, spelling_rows=0), threads=1)
    assert [ids.shape for _, ids, _ in read] == [(3, 48)] * 3  # every row of the batch is text
    assert {int(kind) for _, _, kinds in read for kind in kinds.unique()} == {TEXT}
    with pytest.raises(AssertionError, match="letters"):
        train_language_model(corpus, to, settings(family), threads=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"context": 600}, "context"), ({"spelling_rows": 3}, "spelling_rows"), ({"heads": 3}, "heads")],
)
def test_wrong_settings_are_named(corpus, change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train_language_model(corpus, tmp_path / "model" / "config.json", settings("gpt_neox", **change), threads=1)
