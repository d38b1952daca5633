"""Robustness: what is corrupted, which tokens are compared, and measures with known answers or a peer's own."""

import json
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sae_bench.evals.absorption.feature_absorption_calculator import FeatureAbsorptionCalculator
from sklearn.metrics import mutual_info_score

from conftest import COMPUTE, FAMILIES, a_cell
from maskedsae.activations.corruptions.base import ABSENT, REPLACED
from maskedsae.activations.language_models import LanguageModel, tokenizer_of
from maskedsae.activations.settings import Stream
from maskedsae.inference.mechanism import correlation, mechanism
from maskedsae.inference.settings import MechanismSettings
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import write_json
from maskedsae.jobs.typed import plain
from maskedsae.saes.settings import SHARES_LATENTS
from maskedsae.saes.trainers.base import known_kinds
from maskedsae.scores.mechanism.information import letters, mutual_information
from maskedsae.scores.ood.latents import Encoder
from maskedsae.scores.robustness.activations import write_activations
from maskedsae.scores.robustness.changes import Changes, cosine, jaccard, own_l0
from maskedsae.scores.robustness.corruptions import OWN, Reader, corrupt, misspell
from maskedsae.scores.robustness.labels import NO_LETTER, PARENTS, first_letters, labels, strings
from maskedsae.scores.robustness.latents import explained_variance, l0, with_l0
from maskedsae.scores.robustness.parents import absorption, of_all
from maskedsae.scores.robustness.probes import Probe, fit
from maskedsae.scores.robustness.scores import write_scores
from maskedsae.scores.robustness.settings import OWN_KINDS, Damage, RobustnessSettings, RobustnessTexts
from maskedsae.scores.robustness.texts import Reading, Rows, Texts, read_texts, spelled
from maskedsae.scores.table import Row, Scores, collect
from maskedsae.text.tokens import Tokens

LETTERS = re.compile(r"([^\W\d_]+)")
DAMAGES = (
    Damage("typo", "typo", 0.3),
    Damage("random", "random", 0.2),
    Damage("deletion", "delete", 0.2),
    Damage("cut", "cut", 0.5),
)
MASK = Stream.from_plain({"name": "mask30", "p": 0.3})
CLEAN = Stream.from_plain({"name": "clean"})
DELETE = Stream.from_plain({"name": "delete30", "corruption": {"kind": "delete", "p": 0.3}})
OF_TEXTS = RobustnessTexts(
    contexts=20,
    rows=250,
    corruptions=DAMAGES,
    streams=(MASK.corruption, DELETE.corruption),
    parents=("leading_space", "punctuation"),
    seed=0,
    dtype="float32",
    lm_batch=3,
    code={},
)
SETTINGS = RobustnessSettings(stream=MASK, rates=(0.3, 0.5), k=8, seed=0, code={})


@pytest.fixture(scope="module")
def heldout(tokens_folders):
    return {family: Tokens.open(tokens_folders[family]).heldout(0, 20) for family in FAMILIES}


@pytest.fixture(scope="module")
def readers(facts):
    return {family: Reader(facts[family], tokenizer_of(facts[family]), facts[family]) for family in FAMILIES}


@pytest.fixture(scope="module")
def activations(facts, tokens_folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness")
    write_json(folder / "model.json", plain(facts["gpt_neox"]))
    path = folder / "activations.safetensors"
    write_activations(path, folder / "model.json", tokens_folders["gpt_neox"] / "manifest.json", OF_TEXTS, COMPUTE)
    return path


# What is done to the text.


def test_the_kinds_that_only_test_are_those_that_the_configuration_may_name():
    assert set(OWN) == set(OWN_KINDS)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_an_untouched_token_is_the_clean_one_and_no_special_token_is_touched(damage, family, heldout, readers):
    contexts, reader = heldout[family], readers[family]
    tokens, source = corrupt(damage, contexts, range(20), 0, reader)
    assert tokens.shape == source.shape == contexts.shape
    context, position = np.nonzero(source >= 0)
    assert np.array_equal(tokens[context, position], contexts[context, source[context, position]])
    for clean, made, places in zip(contexts, tokens, source, strict=True):
        kept = places[places >= 0]
        assert np.array_equal(kept, np.unique(kept))  # in their order, each once
        assert not np.isin(made[places == REPLACED], reader.facts.special_ids).any()
        if damage.kind != "cut":
            special = np.flatnonzero(np.isin(clean, reader.facts.special_ids))
            assert set(special[special < kept.max()]) <= set(kept)
    if reader.facts.bos:
        assert (tokens[:, 0] == reader.tokenizer.bos_token_id).all()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_a_contexts_corruption_depends_on_its_number_and_the_seed_alone(damage, heldout, readers):
    contexts, reader = heldout["gpt_neox"], readers["gpt_neox"]
    together = corrupt(damage, contexts, range(20), 0, reader)
    for number in (0, 7):
        alone = corrupt(damage, contexts[number : number + 1], [number], 0, reader)
        assert np.array_equal(alone.tokens[0], together.tokens[number])
        assert np.array_equal(alone.source[0], together.source[number])
    if damage.kind != "cut":
        assert not np.array_equal(corrupt(damage, contexts, range(20), 1, reader).tokens, together.tokens)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_typo_changes_words_by_one_letter_and_nothing_else(family, heldout, readers):
    """Read as text: between the words both readings are the same, and so are most words."""
    reader, contexts = readers[family], heldout[family]
    counted = Counter()
    for context, made, source in zip(contexts, *corrupt(DAMAGES[0], contexts, range(20), 0, reader), strict=True):
        end = int((source != ABSENT).sum())
        clean, misspelt = (LETTERS.split(reader.tokenizer.decode(ids)) for ids in (context, made[:end]))
        shown = min(len(clean), len(misspelt)) - 2  # the last word may be cut off
        assert clean[0:shown:2] == misspelt[0:shown:2]
        for word, other in zip(clean[1:shown:2], misspelt[1:shown:2], strict=True):
            gone, new = Counter(word) - Counter(other), Counter(other) - Counter(word)
            assert (gone.total(), new.total()) in ((0, 0), (1, 1), (1, 0))
            swapped = [place for place, (a, b) in enumerate(zip(word, other, strict=False)) if a != b]
            if not gone:
                assert not swapped or swapped == [swapped[0], swapped[0] + 1]
            counted[word == other, len(word) < 3] += 1
    assert counted[False, True] == 0
    assert counted[False, False] / (counted[False, False] + counted[True, False]) == pytest.approx(0.3, abs=0.15)


def test_typos_are_nested_in_p_and_of_the_stated_rate(heldout, readers):
    reader, contexts = readers["gpt_neox"], heldout["gpt_neox"]
    kept = {p: corrupt(Damage("typo", "typo", p), contexts, range(20), 0, reader).source for p in (1e-9, 0.3, 0.999)}
    assert np.array_equal(kept[1e-9], np.broadcast_to(np.arange(32), contexts.shape))
    left = {p: [set(row[row >= 0]) for row in source] for p, source in kept.items()}
    # A typo lengthens a context, so compare before the place where the longer one is cut off.
    for few, many, source in zip(left[0.3], left[0.999], kept[0.999], strict=True):
        assert {place for place in many if place < source.max()} <= few
    words = [sum((row == REPLACED).any() for row in kept[p]) for p in (0.3, 0.999)]
    assert 0 < words[0] <= words[1]


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        ((0.0, 0.0, 0.0), " owrd"),
        ((0.0, 0.99, 0.0), " wodr"),
        ((0.5, 0.0, 0.0), " aord"),
        ((0.5, 0.99, 0.99), " worz"),
        ((0.9, 0.3, 0.0), " wrd"),
    ],
)
def test_a_letter_is_swapped_replaced_or_left_out(draws, expected):
    assert misspell(" word", *draws) == expected


def test_a_replaced_letter_keeps_its_case_and_always_differs():
    assert misspell("Aaa", 0.5, 0.0, 0.0) == "Baa"
    assert misspell("aaa", 0.0, 0.5, 0.0) == "aa"  # nothing to swap
    for where in np.linspace(0, 0.99, 7):
        for how in np.linspace(0, 0.99, 9):
            assert misspell(" letter", how, where, 0.5) != " letter"


def test_random_tokens_have_the_stated_rate_and_come_from_the_whole_vocabulary(readers):
    reader = readers["gpt_neox"]
    contexts = np.full((300, 64), 40)
    tokens, source = corrupt(Damage("random", "random", 0.2), contexts, range(300), 0, reader)
    drawn = tokens[source == REPLACED]
    assert len(drawn) / contexts.size == pytest.approx(0.2, abs=0.01)
    ordinary = set(range(reader.facts.vocabulary)) - set(reader.facts.special_ids)
    assert set(drawn) <= ordinary
    assert len(set(drawn)) > 0.99 * len(ordinary)  # 3,800 draws


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_context_is_its_end_behind_bos(family, heldout, readers):
    contexts, bos = heldout[family], readers[family].facts.bos
    tokens, source = corrupt(Damage("cut", "cut", 0.75), contexts, range(20), 0, readers[family])
    assert np.array_equal(tokens[:, int(bos) : 8 + int(bos)], contexts[:, 24:])
    assert np.array_equal(source[0, : 8 + int(bos)], ([0] if bos else []) + list(range(24, 32)))
    assert (source[:, 8 + int(bos) :] == ABSENT).all()


# What is known of a token.


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_strings_join_to_the_text(family, heldout, readers):
    reader = readers[family]
    for context in heldout[family][:5]:
        ids = context[~np.isin(context, reader.facts.special_ids)]
        known = strings(reader.tokenizer, np.unique(ids), reader.facts.special_ids)
        text = reader.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        assert "".join(known[token] for token in ids.tolist()) == text
    assert set(strings(reader.tokenizer, reader.facts.special_ids, reader.facts.special_ids).values()) == {""}


def test_parents_and_first_letters():
    texts = [" The", "the", " 42", "b2", ",", "\n", " ...", "É", " zoo", ""]
    found = labels(texts, PARENTS)
    assert np.flatnonzero(found["capitalised"]).tolist() == [0, 7]
    assert np.flatnonzero(found["digit"]).tolist() == [2, 3]
    assert np.flatnonzero(found["leading_space"]).tolist() == [0, 2, 6, 8]
    assert np.flatnonzero(found["punctuation"]).tolist() == [4, 6]
    assert first_letters(texts).tolist() == [19, 19, *[NO_LETTER] * 6, 25, NO_LETTER]


# Which tokens are compared.


def test_rows_are_the_language_models_own_at_untouched_tokens_behind_a_change(activations, facts, heldout, readers):
    texts = read_texts(activations)
    model, second = LanguageModel(facts["gpt_neox"], "float32", "cpu"), heldout["gpt_neox"][10:]
    clean = model.residual(torch.from_numpy(second)).flatten(0, 1)
    places = np.array([int((clean - row).abs().sum(1).argmin()) for row in texts.test.x])
    assert torch.allclose(clean[places], texts.test.x, rtol=0, atol=1e-5)
    assert (places % 32 > 0).all()
    assert not np.isin(second.flatten()[places], facts["gpt_neox"].special_ids).any()
    for damage in DAMAGES:
        tokens, source = corrupt(damage, second, range(10, 20), 0, readers["gpt_neox"])
        residual, reading = model.residual(torch.from_numpy(tokens)), texts.corrupted[damage.name]
        expected = {}
        for context in range(10):
            changed = False
            for position in range(32):
                changed = changed or source[context, position] != position
                if changed and position and source[context, position] >= 0:
                    expected[32 * context + source[context, position]] = residual[context, position]
        compared = [place for place in places if place in expected]
        assert places[reading.rows].tolist() == compared
        assert torch.allclose(torch.stack([expected[place] for place in compared]), reading.x, rtol=0, atol=1e-5)


def test_a_streams_touched_tokens_are_read_too_and_deletion_leaves_none(activations):
    texts = read_texts(activations)
    masked, deleted = (texts.streams[spelled(stream.corruption)] for stream in (MASK, DELETE))
    assert len(masked.touched) / len(texts.test.x) == pytest.approx(0.3, abs=0.08)
    assert len(masked.touched) + len(masked.rows) <= len(texts.test.x)
    assert len(deleted.touched) == 0 < len(deleted.rows)


def test_a_parent_that_the_text_lacks_is_an_error_that_names_it(facts, tokens_folders, tmp_path):
    write_json(tmp_path / "model.json", plain(facts["gpt_neox"]))
    manifest, settings = tokens_folders["gpt_neox"] / "manifest.json", replace(OF_TEXTS, parents=("digit",), rows=60)
    with pytest.raises(InputError, match=r"robustness\.parents: digit: of 60 tokens to learn from, \d+ have it"):
        write_activations(tmp_path / "a.safetensors", tmp_path / "model.json", manifest, settings, COMPUTE)


def test_the_file_is_the_same_every_time(activations, facts, tokens_folders, tmp_path):
    write_json(tmp_path / "model.json", plain(facts["gpt_neox"]))
    again = tmp_path / "again.safetensors"
    write_activations(again, tmp_path / "model.json", tokens_folders["gpt_neox"] / "manifest.json", OF_TEXTS, COMPUTE)
    assert again.read_bytes() == activations.read_bytes()


# Measures.


def encoder(W_enc, W_dec, b_enc=0.0, b_dec=0.0, threshold=0.0) -> Encoder:
    """A SAELens JumpReLU with these weights."""
    made = Encoder.__new__(Encoder)
    made.config = {"architecture": "jumprelu", "apply_b_dec_to_input": False}
    latents, width = W_dec.shape
    made.weights = {
        "W_enc": W_enc,
        "W_dec": W_dec,
        "b_enc": torch.as_tensor(b_enc).expand(latents).float(),
        "b_dec": torch.as_tensor(b_dec).expand(width).float(),
        "threshold": torch.as_tensor(threshold).expand(latents).float(),
    }
    return made


def test_an_sae_whose_latents_are_the_activations_is_as_robust_as_they_are(activations):
    """Shifted so that all are positive: all are always active, give the activations back, and carry the same probes."""
    texts = read_texts(activations)
    shift, eye = 100.0, torch.eye(32)
    found = Changes(encoder(eye, eye, shift, -shift), texts, replace(SETTINGS, k=32)).result()
    for name in ("typo", "random", "deletion", "cut"):
        numbers = found[name]
        assert numbers["jaccard"] == 1
        assert numbers["l0"] == 32
        assert numbers["explained_variance"] == pytest.approx(1, abs=1e-6)
        assert numbers["probe_auc"] == pytest.approx(numbers["raw_probe_auc"], abs=1e-3)
        assert numbers["probe_auc_change"] == pytest.approx(numbers["raw_probe_auc_change"], abs=1e-3)
        assert 0.5 < numbers["raw_cosine"] < 1
    assert found["cut"]["raw_probe_auc_change"] != 0


def test_an_sae_that_reads_nothing_but_the_token_does_not_change(activations):
    """Where the text is as before, everything is: of a reading that is the clean one."""
    texts = read_texts(activations)
    rows = torch.arange(100).flip(0) + 20
    same = Reading(texts.test.x[rows], rows, texts.test.x[:0])
    texts = replace(texts, corrupted={"same": same})
    eye = torch.eye(32)
    numbers = Changes(encoder(eye, eye), texts, SETTINGS).result()["same"]
    assert (numbers["jaccard"], numbers["tokens"]) == (1, 100)
    assert numbers["cosine"] == pytest.approx(1) == numbers["raw_cosine"]
    assert {value for key, value in numbers.items() if key.endswith("_change")} == {0}


def test_jaccard_and_cosine_of_known_vectors():
    one = torch.tensor([[1.0, 2, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0], [1, 1, 0, 0]])
    other = torch.tensor([[1.0, 0, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 0, 0]])
    assert jaccard(one, other) == pytest.approx((1 / 3 + 1 + 0 + 1) / 4)
    assert cosine(one, other) == pytest.approx((1 / 5 + 1 + 0 + 1) / 4)


def test_explained_variance_is_centred():
    x = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)) + 50
    assert explained_variance(x, x.mean(0).expand_as(x)) == pytest.approx(0, abs=1e-6)
    assert explained_variance(x, x) == 1


def test_a_probe_has_scikit_learns_scores_and_finds_a_planted_direction():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 6, generator=generator) * torch.tensor([1.0, 1, 1, 1, 1, 1000])
    has = x[:, 0] + 0.5 * x[:, 1] > 0
    probe = fit(x, has, 0)
    direction = probe.weights / probe.weights.norm()
    assert torch.allclose(direction, torch.tensor([2.0, 1, 0, 0, 0, 0]) / 5**0.5, atol=0.02)
    assert probe.auc(x, has) > 0.999
    assert ((probe.scores(x) > 0) == has).double().mean() > 0.98


@pytest.mark.parametrize("target", [3.0, 8.0, 10.5])
def test_with_another_threshold_the_l0_is_the_one_asked_for(target):
    x = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
    encode = encoder(torch.cat([torch.eye(16), -torch.eye(16)], 1), torch.eye(32, 16), threshold=1.5)
    assert l0(with_l0(encode, x, target)(x)) == pytest.approx(target)
    assert with_l0(encode, x, 17.0) is None  # of each pair, one is positive


@pytest.mark.parametrize("kind", ["topk", "standard", "gated"])
def test_a_top_k_per_token_a_relu_and_a_gate_have_no_threshold(kind, cells):
    assert with_l0(Encoder(cells[kind] / "sae"), torch.randn(10, 32), 4.0) is None


def test_own_l0_is_that_of_the_streams_rows(activations, cells):
    encode, texts = Encoder(cells["batch_topk"] / "sae"), read_texts(activations)
    reading = texts.streams[spelled(MASK.corruption)]
    active = {
        name: float((encode(x) > 0).sum(1).double().mean())
        for name, x in (
            ("untouched", reading.x),
            ("touched", reading.touched),
            ("clean", texts.test.x[reading.rows]),
        )
    }
    found = own_l0(encode, texts, MASK)
    assert found == {f"l0_{name}": pytest.approx(active[name]) for name in ("untouched", "touched")}
    budget = Stream.from_plain({"name": "budget", "corruption": {"kind": "mask", "p": 0.3}, "context": "clean"})
    assert own_l0(encode, texts, budget)["l0_untouched"] == pytest.approx(active["clean"])
    assert own_l0(encode, texts, budget)["l0_touched"] == found["l0_touched"]
    assert own_l0(encode, texts, DELETE).keys() == {"l0_untouched"}
    assert len(set(own_l0(encode, texts, CLEAN).values())) == 1


# Parents.


def test_absorption_is_saebenchs_row_by_row():
    """Its own calculator, given our activations in place of a language model's."""
    generator = torch.Generator().manual_seed(0)
    rows, width, latents = 300, 8, 40
    x, direction = torch.randn(rows, width, generator=generator), torch.randn(width, generator=generator)
    x += 0.7 * direction
    decoder = torch.nn.functional.normalize(torch.randn(latents, width, generator=generator), dim=1)
    acts = torch.relu(x @ decoder.T - 1.0)
    acts[: rows // 2, 0] = 0
    decoder[0] = direction / direction.norm()
    model = SimpleNamespace(
        to_tokens=lambda prompt: [[0]],
        run_with_cache=lambda prompts, names_filter: (None, {names_filter[0]: x[:, None, :]}),
    )
    sae = SimpleNamespace(device="cpu", W_dec=decoder, encode=lambda batch: acts)
    calculator = FeatureAbsorptionCalculator(
        model=model, icl_word_list=["a"], max_icl_examples=0, word_token_pos=0, batch_size=rows
    )
    theirs = calculator.calculate_absorption(sae, ["word"] * rows, direction, [0], layer=0, show_progress=False)
    cosines = torch.nn.functional.cosine_similarity(direction, decoder, dim=-1)
    full, fraction = absorption(acts, x, 0, direction, cosines)
    assert full.tolist() == [result.is_full_absorption for result in theirs.word_results]
    assert fraction.tolist() == pytest.approx([result.absorption_fraction for result in theirs.word_results], abs=1e-5)
    assert 20 < full.sum() < rows
    assert ((fraction > 0) & (fraction < 1)).sum() > 20


def planted(absorbing: bool) -> tuple[Encoder, Texts]:
    """A parent along the first dimension, and in a quarter of its rows a child along the second. The absorbing SAE's
    child latent writes both, and its parent latent is silent there; the other SAE has a latent for each."""
    generator = torch.Generator().manual_seed(0)
    n = 4000
    parent = torch.arange(n) % 2 == 0
    child = torch.arange(n) % 8 == 0
    x = 0.01 * torch.randn(n, 4, generator=generator)
    x[:, 0] += 3 * parent
    x[:, 1] += 3 * child
    x[:, 2] += 3 * ~parent
    W_enc, W_dec = torch.eye(4)[:, :3].clone(), torch.eye(4)[:3].clone()
    if absorbing:
        W_enc[1, 0] = -1
        W_dec[1] = torch.tensor([1.0, 1, 0, 0]) / 2**0.5
    rows = Rows(x, {"planted": parent}, torch.where(parent, 0, NO_LETTER))
    probes = {"planted": Probe(torch.tensor([1.0, 0, 0, 0]), -1.5)}
    return encoder(W_enc, W_dec, threshold=0.5), Texts(rows, rows, {}, {}, probes)


@pytest.mark.parametrize("absorbing", [True, False])
def test_a_planted_absorbing_sae_misses_the_parent_where_the_child_is_and_a_faithful_one_does_not(absorbing):
    found, latents = of_all(*planted(absorbing))
    numbers, share = found["planted"], 0.25 if absorbing else 0
    assert latents == {"planted": 0}
    assert numbers["missed"] == numbers["missed_and_absorbed"] == numbers["full_absorption"] == share
    assert numbers["absorption_fraction"] == pytest.approx(share, abs=0.02)
    assert (numbers["recall"], numbers["precision"], numbers["tokens"]) == (1 - share, 1, 2000)
    assert numbers.get("absorbed_of_missed") == (1 if absorbing else None)
    assert found["mean"]["missed"] == share


# Mechanism.


def test_mutual_information_is_scikit_learns_in_bits():
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(500, generator=generator) < 0.3
    other = torch.stack([one, ~one, torch.rand(500, generator=generator) < 0.5, torch.zeros(500, dtype=torch.bool)], 1)
    expected = [mutual_info_score(one.numpy(), column.numpy()) / np.log(2) for column in other.T]
    assert mutual_information(one, other).tolist() == pytest.approx(expected, abs=1e-9)
    fair = torch.arange(100) % 2 == 0
    assert mutual_information(fair, fair[:, None]).tolist() == pytest.approx([1])


def test_what_masking_takes_apart_shows_up_as_lost_information():
    """The child's tokens lose the parent in half of the masked readings; the label stays."""
    encode, texts = planted(absorbing=False)
    child = texts.test.x[:, 1] > 1
    masked = texts.test.x.clone()
    masked[child & (torch.arange(4000) % 16 == 0), 0] = 0
    rows = torch.arange(4000)
    readings = {name: Reading(x, rows, x[:0]) for name, x in (("same", texts.test.x), ("masked", masked))}
    ((letter, found),) = letters(encode, texts, readings).items()
    assert (letter, found["parent"], found["children"], found["tokens"]) == ("a", 0, [1], 2000)
    p = torch.tensor([3 / 8, 1 / 8, 1 / 2])  # parent alone, with child, neither
    assert found["clean"]["parent"] == pytest.approx(
        float(1 / 8 * 1 + 3 / 8 * np.log2(3 / 8 / (1 / 2 * 7 / 8)) + 1 / 2 * np.log2(8 / 7))
    )
    assert p.sum() == 1
    assert found["same"]["parent_change"] == 0
    assert found["masked"]["parent_change"] < -0.05
    assert found["masked"]["label_change"] == pytest.approx(0, abs=1e-12)


def scores_of(rates: dict[tuple[str, int], list[float]], l0s: dict[tuple[str, int], float]) -> Scores:
    rows = []
    for (stream, nominal), values in rates.items():
        place = ("tiny", "neox", stream, 0.0, "topk", nominal, 0)
        rows.append(Row(*place, "quality.l0", l0s[stream, nominal], "quality.json"))
        for letter, value in zip("abcdefgh", values, strict=False):
            for key in ("full_absorption_rate", "mean_absorption_fraction"):
                rows.append(Row(*place, f"absorption.{letter}.{key}", value, "absorption.json"))
    return Scores(rows)


def test_a_letters_change_in_absorption_is_at_nominal_and_at_matched_l0_and_correlates_with_information():
    letters_known = {
        letter: {"mask30": {"parent_change": -i / 10, "label_change": 0.0}} for i, letter in enumerate("abcdefg")
    }
    base = [0.5] * 6  # SAEBench left out the letter g
    rates = {("clean", 4): base, ("clean", 16): [0.1] * 6, ("mask30", 4): [0.5 - i / 100 for i in range(6)]}
    l0s = {("clean", 4): 4.0, ("clean", 16): 16.0, ("mask30", 4): 8.0}
    settings = MechanismSettings(
        "tiny", "neox", "clean", (MASK,), ("topk",), (0,), {"clean": (4, 16), "mask30": (4,)}, {}
    )
    found = mechanism(letters_known, scores_of(rates, l0s), settings)
    by = {(each["absorption"], each["at"], each["information"]): each for each in found}
    assert len(by) == 8
    nominal, matched = by["full", "nominal", "parent"], by["full", "matched", "parent"]
    assert list(nominal["letters"].values()) == pytest.approx([-i / 100 for i in range(6)])
    assert list(matched["letters"].values()) == pytest.approx([0.2 - i / 100 for i in range(6)])  # 0.3 at l0 8
    assert (nominal["n"], nominal["rho"]) == (6, pytest.approx(1))
    assert by["full", "nominal", "label"]["rho"] is None  # nothing changes
    outside = mechanism(letters_known, scores_of(rates, l0s | {("mask30", 4): 20.0}), settings)
    assert {each["n"] for each in outside if each["at"] == "matched"} == {0}


def test_the_interval_of_rho_is_fishers_with_bonett_and_wrights_variance():
    rng = np.random.default_rng(0)
    one = rng.normal(size=50)
    found = correlation(list(one), list(one + rng.normal(size=50)))
    z, half = np.arctanh(found["rho"]), 1.959964 * np.sqrt((1 + found["rho"] ** 2 / 2) / 47)
    assert found["interval"] == pytest.approx([np.tanh(z - half), np.tanh(z + half)])
    assert correlation([1.0, 2, 3, 4], [1.0, 2, 3, 4])["rho"] is None  # too few


# The score files.


@pytest.mark.parametrize("kind", known_kinds())
def test_every_kind_of_sae_gets_both_files_and_scores_csv_reads_them(kind, cells, activations, tmp_path):
    folder = tmp_path / replace(a_cell(8, kind), stream="mask30").folder / "scores"
    files = [folder / "robustness.json", folder / "parents.json"]
    write_scores(*files, activations, cells[kind] / "sae" / "sae_weights.safetensors", SETTINGS)
    rows = {row.metric: row.value for row in collect(list(map(str, files)), (MASK,))}
    robustness, parents = (json.loads(file.read_text()) for file in files)
    assert rows["robustness.typo.jaccard"] == robustness["typo"]["jaccard"]
    assert rows["robustness.own.l0_touched"] == robustness["own"]["l0_touched"]
    assert rows["parents.mean.missed"] == parents["scores"]["mean"]["missed"]
    assert not any(name.startswith("parents.latents") for name in rows)
    targets = {name for name in parents["scores"] if name.startswith("l0_")}
    assert targets <= {"l0_8", "l0_11.4", "l0_16"}
    assert ("l0_8" in targets) == (kind in SHARES_LATENTS)  # they are those with a threshold
    before = files[0].read_bytes()
    write_scores(*files, activations, cells[kind] / "sae" / "sae_weights.safetensors", SETTINGS)
    assert files[0].read_bytes() == before
