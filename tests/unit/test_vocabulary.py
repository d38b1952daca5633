"""What corruptions know about a model's tokens: compared with the text and with the tokenizer's own offsets."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from conftest import FAMILIES, documents, make_model, model_settings
from maskedsae.activations import vocabulary as module
from maskedsae.activations.corruptions.base import REPLACED, Corruption
from maskedsae.activations.corruptions.mask_words import first_of_word
from maskedsae.activations.language_models import describe, tokenizer_of, write_facts
from maskedsae.activations.settings import ModelFacts, Stream
from maskedsae.activations.vocabulary import ModelVocabulary
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.typed import plain
from maskedsae.text.tokens import Tokens

TEXTS = [
    *documents()[:60],
    "It's 42nd street: foo_bar(x1, y2) == 'naïve café'\n\nThe\tend...what?  Two  spaces",
    "你好。再见 ok",
    "A 🙂 face, “e\u0301tude”",
]


@pytest.fixture
def known(facts, tokens_folders):
    return {family: ModelVocabulary(facts[family], Tokens.open(tokens_folders[family])) for family in FAMILIES}


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory) -> ModelFacts:
    """A tokenizer that marks a word's start by ▁ and falls back to bytes, as Gemma's does."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="never"), pre_tokenizers.Punctuation("contiguous")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{number:02X}>" for number in range(256))]
    tokenizer.train_from_iterator(
        [*documents(), *["so... what..."] * 1000],
        trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False),
    )
    # The bytes are tokens of text, not special ones.
    made = json.loads(tokenizer.to_str())
    made["added_tokens"] = [token for token in made["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(made)),
        **{"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"},
    )
    folder = tmp_path_factory.mktemp("sentencepiece")
    tokenizer.save_pretrained(folder)
    make_model("gemma2", len(tokenizer)).save_pretrained(folder)
    return describe(model_settings("gemma2", folder))


def starts_by_offsets(tokenizer, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids, and for each token whether a word starts there, by the characters around that place of the text."""
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = coded["offset_mapping"]
    for (one, _), (other, _) in pairwise(offsets):
        if one == other:  # a character of several tokens, whose parts do not show whether it is a letter
            text = text[:one] + "x" + text[one + 1 :]
    within = re.compile(r"[^\W_]{2}")
    starts = [begin == 0 or not within.fullmatch(text[begin - 1 : begin + 1]) for begin, _ in offsets]
    further = [False] + [one == other for (one, _), (other, _) in pairwise(offsets)]
    return np.array(coded["input_ids"]), np.array(starts) & ~np.array(further)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", TEXTS)
def test_words_start_where_the_text_has_a_space_or_a_mark(known, facts, family, text):
    ids, starts = starts_by_offsets(tokenizer_of(facts[family]), text)
    first = first_of_word(ids[None], known[family].word_edges)[0]
    assert np.array_equal(first == np.arange(len(ids)), starts)
    assert 0 < starts.sum() < len(starts) or len(text) < 10


def test_a_sentencepiece_tokenizer_has_the_same_words(sentencepiece):
    tokenizer, edges = tokenizer_of(sentencepiece), ModelVocabulary(sentencepiece, None).word_edges
    for text in ("so what... (what) unbelievable (7 it's", *documents()[5:20]):
        ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"])
        first = first_of_word(ids[None], edges)[0]
        words = [tokenizer.decode(ids[first == place].tolist()).strip() for place in np.unique(first)]
        assert [word for word in words if word.isalnum()] == re.findall(r"[^\W_]+", text)


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_are_in_no_word(facts, family):
    """Nor would be one whose text is a word."""
    ordinary = tokenizer_of(facts[family]).convert_tokens_to_ids("he")
    special = (*facts[family].special_ids, ordinary)
    edges = [ModelVocabulary(replace(facts[family], special_ids=ids), None).word_edges for ids in ((), special)]
    assert edges[0][:, ordinary].all() and not edges[1][:, special].any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("at_once", [1, 100, 2**22])
def test_each_token_of_the_training_text_is_counted(known, tokens_folders, family, at_once, monkeypatch):
    monkeypatch.setattr(module, "COUNTED", at_once)
    tokens = Tokens.open(tokens_folders[family])
    numbers, counts = np.unique(tokens.contexts(0, tokens.n_train), return_counts=True)
    found = known[family].counts
    assert np.array_equal(np.flatnonzero(found), numbers) and np.array_equal(found[numbers], counts)


def test_only_contexts_that_the_stream_may_read_are_counted(facts, tokens_folders):
    """So a longer text, for another stream, changes no draw."""
    tokens = Tokens.open(tokens_folders["gpt_neox"])
    assert ModelVocabulary(facts["gpt_neox"], tokens.first(7)).counts.sum() == 7 * 32


@pytest.mark.parametrize("family", FAMILIES)
def test_held_out_text_is_replaced_by_tokens_of_the_training_text(known, facts, tokens_folders, family):
    heldout = Tokens.open(tokens_folders[family]).heldout(0, 20)
    read, source = Corruption.from_plain({"kind": "replace", "p": 0.5}).corrupt(heldout, range(20), 0, known[family])
    drawn = read[source == REPLACED]
    assert 0.4 < len(drawn) / heldout.size < 0.6
    assert (known[family].counts[drawn] > 0).all() and not np.isin(drawn, facts[family].special_ids).any()


# Mask strings.


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_string_is_the_token_that_the_tokenizer_makes_of_it(known, facts, family):
    tokenizer = tokenizer_of(facts[family])
    assert known[family].token_id(" the") == tokenizer.convert_tokens_to_ids("Ġthe")
    assert known[family].token_id("...") == facts[family].mask_id


def test_a_string_that_is_no_token_is_said_by_the_first_job_that_knows_the_tokenizer(
    model_folders, known, facts, tmp_path
):
    """By rule `model`, before any text is read; and by training, for a stream that was added later."""
    entry = {"name": "other", "corruption": {"kind": "mask", "p": 0.3, "string": "Unbelievable!"}}
    streams = [Stream.from_plain(given) for given in ({"name": "clean"}, {"name": "mask30", "p": 0.3}, entry)]
    settings = model_settings("gpt_neox", model_folders["gpt_neox"])
    told = []
    with pytest.raises(InputError) as error:
        write_facts(tmp_path / "model.json", settings, streams)
    told.append(str(error.value))
    assert not (tmp_path / "model.json").exists()
    with pytest.raises(InputError) as error:
        streams[2].corruption.corrupt(np.ones((1, 4), np.int64), [0], 0, known["gpt_neox"])
    told.append(str(error.value))
    count = len(tokenizer_of(facts["gpt_neox"])("Unbelievable!")["input_ids"])
    assert set(told) == {
        f"streams: corruption.string: 'Unbelievable!' is {count} tokens in tiny-gpt_neox's tokenizer, and a masked "
        "token is replaced by exactly one: choose a string that is one token"
    }


def test_other_strings_leave_the_facts_as_they_are(model_folders, tmp_path):
    """So a stream with another string trains no other stream's SAEs again."""
    settings = model_settings("gpt_neox", model_folders["gpt_neox"])
    stream = Stream.from_plain({"name": "other", "corruption": {"kind": "mask", "p": 0.3, "string": " the"}})
    write_facts(tmp_path / "model.json", settings, [stream])
    assert json.loads((tmp_path / "model.json").read_text()) == json.loads(json.dumps(plain(describe(settings))))
    assert replace(stream, corruption=None).as_in_the_paper and not stream.as_in_the_paper
    assert Stream.from_plain({"name": "mask30", "p": 0.3}).as_in_the_paper
