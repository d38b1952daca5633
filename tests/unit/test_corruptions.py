"""What a corruption does depends on (seed, context, position) and its settings alone."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskedsae.activations.corruptions.base import (
    ABSENT,
    DRAW,
    NOISE,
    REPLACED,
    TOUCH,
    Corrupted,
    Corruption,
    known_kinds,
    uniforms,
)
from maskedsae.activations.settings import Stream
from maskedsae.activations.streams import other_places

MASK, BOS, EOS = 7, 1, 2
SEEDS = st.integers(0, 2**32 - 1)
FIRST = st.integers(0, 2**40)
SHARE = st.floats(0, 1, exclude_max=True)
ALL_KINDS = ["delete", "mask", "mask_words", "replace"]
KINDS = pytest.mark.parametrize("kind", ALL_KINDS)


@dataclass(frozen=True)
class Vocabulary:
    """50 tokens. Those from 30 on go on with the word before, unless it is a special token or 29, punctuation."""

    mask_id: int = MASK
    special_ids: tuple[int, ...] = (BOS, EOS)

    @property
    def counts(self) -> np.ndarray:
        return np.arange(50)[::-1] * 10

    @property
    def word_edges(self) -> np.ndarray:
        numbers = np.arange(50)
        return np.array([numbers >= 30, ~np.isin(numbers, [BOS, EOS, 29])])

    def token_id(self, string: str) -> int:
        return {" ...": 8}[string]


def contexts(seed: int, count: int = 12, length: int = 40) -> np.ndarray:
    """Random tokens, among them BOS and EOS."""
    return np.random.default_rng(seed).integers(0, 50, (count, length))


def corrupted(kind: str, tokens: np.ndarray, p: float, first: int = 0, seed: int = 0) -> Corrupted:
    corruption = Corruption.from_plain({"kind": kind, "p": p})
    return corruption.corrupt(tokens, range(first, first + len(tokens)), seed, Vocabulary())


def touched(kind: str, *arguments, **more) -> np.ndarray:
    """Which tokens of the clean contexts are not there any more."""
    tokens, (_, source) = arguments[0], corrupted(kind, *arguments, **more)
    left = [set(row[row >= 0].tolist()) for row in source]
    return np.array([[place not in row for place in range(tokens.shape[1])] for row in left])


def test_every_kind_is_tested_here():
    assert known_kinds() == ALL_KINDS


# What holds of every kind.


@KINDS
@given(SEEDS, FIRST)
def test_p_0_is_the_untouched_text(kind, seed, first):
    tokens = contexts(seed)
    read, source = corrupted(kind, tokens, 0, first, seed)
    assert np.array_equal(read, tokens)
    assert np.array_equal(source, np.broadcast_to(np.arange(40), tokens.shape))


@KINDS
@given(SEEDS, FIRST, SHARE)
def test_special_tokens_are_never_touched(kind, seed, first, p):
    tokens = contexts(seed)
    assert not touched(kind, tokens, p, first, seed)[np.isin(tokens, [BOS, EOS])].any()


@KINDS
@given(SEEDS, FIRST, SHARE)
def test_source_says_where_each_token_comes_from(kind, seed, first, p):
    tokens = contexts(seed)
    read, source = corrupted(kind, tokens, p, first, seed)
    assert read.shape == tokens.shape and read.dtype == tokens.dtype
    rows, places = np.nonzero(source >= 0)
    assert np.array_equal(read[rows, places], tokens[rows, source[rows, places]])
    assert np.isin(source, [REPLACED, ABSENT, *range(40)]).all()
    for row in source:  # in the text's order, none twice
        assert np.all(np.diff(row[row >= 0]) > 0)


@KINDS
@given(SEEDS, FIRST, SHARE, SHARE)
def test_what_is_touched_is_nested_in_p(kind, seed, first, one, other):
    low, high = sorted((one, other))
    tokens = contexts(seed)
    fewer, more = (touched(kind, tokens, p, first, seed) for p in (low, high))
    assert np.all(more | ~fewer)


@given(SEEDS, FIRST, SHARE)
def test_kinds_of_one_p_touch_the_same_tokens(seed, first, p):
    """So a control differs from the paper's masks in what it does, and not in where."""
    tokens = contexts(seed)
    masked = touched("mask", tokens, p, first, seed)
    for kind in ("delete", "replace"):
        assert np.array_equal(touched(kind, tokens, p, first, seed), masked)
    single = np.where(tokens < 30, tokens, 20)  # each token a word
    assert np.array_equal(touched("mask_words", single, p, first, seed), touched("mask", single, p, first, seed))


@KINDS
@given(SEEDS, FIRST, SHARE, st.integers(1, 11))
def test_blocks_of_any_size_give_the_same(kind, seed, first, p, block):
    tokens = contexts(seed)
    whole = corrupted(kind, tokens, p, first, seed)
    parts = [corrupted(kind, tokens[i : i + block], p, first + i, seed) for i in range(0, len(tokens), block)]
    for one, others in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.array_equal(one, np.concatenate(others))


@KINDS
@given(SEEDS, st.sampled_from([0.2, 0.3, 0.5]))
def test_rates_and_rows_are_within_binomial_bounds(kind, seed, p):
    tokens = np.full((200, 100), 20)
    # Six standard deviations: one failure in 10^9 draws, were the numbers random.
    bound = 6 * np.sqrt(p * (1 - p) / tokens.size)
    _, source = corrupted(kind, tokens, p, seed=seed)
    assert abs((source < 0).mean() - p) < bound
    stream = Stream.from_plain({"name": "s", "corruption": {"kind": kind, "p": p}})
    assert abs((source != ABSENT).mean() - stream.share_of_rows) < bound
    untouched = Stream.from_plain(stream.plain() | {"rows": "untouched"})
    assert abs((source >= 0).mean() - untouched.share_of_rows) < bound


@KINDS
@given(SEEDS, SEEDS)
def test_another_seed_touches_other_tokens(kind, one, other):
    tokens = np.full((4, 64), 20)
    same = np.array_equal(*(touched(kind, tokens, 0.5, seed=seed) for seed in (one, other)))
    assert same == (one == other)


# What is the kinds' own.


@given(SEEDS, FIRST, SHARE)
def test_a_masked_token_becomes_the_mask_and_no_other_changes(seed, first, p):
    tokens = contexts(seed)
    read, source = corrupted("mask", tokens, p, first, seed)
    expected = (uniforms(seed, range(first, first + 12), 40) < p) & ~np.isin(tokens, [BOS, EOS])
    assert np.array_equal(source == REPLACED, expected)
    assert np.array_equal(read, np.where(expected, MASK, tokens))


@given(SEEDS, FIRST, SHARE)
def test_where_tokens_are_deleted_the_context_closes_up_and_its_end_is_absent(seed, first, p):
    tokens = contexts(seed)
    read, source = corrupted("delete", tokens, p, first, seed)
    gone = (uniforms(seed, range(first, first + 12), 40) < p) & ~np.isin(tokens, [BOS, EOS])
    for clean, row, places, deleted in zip(tokens, read, source, gone, strict=True):
        left = clean[~deleted]
        assert np.array_equal(row[: len(left)], left)
        assert np.all(places[: len(left)] == np.flatnonzero(~deleted))
        assert np.all(places[len(left) :] == ABSENT)


def test_a_mask_can_be_another_string():
    tokens = contexts(0)
    other = Corruption.from_plain({"kind": "mask", "p": 0.3, "string": " ..."})
    read, source = other.corrupt(tokens, range(12), 0, Vocabulary())
    default, same = corrupted("mask", tokens, 0.3)
    assert np.array_equal(source, same)
    assert np.array_equal(read, np.where(source == REPLACED, 8, default))


def test_a_mask_without_a_string_of_its_own_is_spelled_as_ever():
    """So the SAEs of masks that were trained before there were other strings are not trained again."""
    for entry in ({"kind": "mask", "p": 0.3}, {"kind": "mask", "p": 0.3, "string": None}):
        assert Corruption.from_plain(entry).plain() == {"kind": "mask", "p": 0.3}
    other = {"kind": "mask", "p": 0.3, "string": "…"}
    assert Corruption.from_plain(other).plain() == other
    assert Corruption.from_plain(other).strings == ("…",)


@given(SEEDS, FIRST, SHARE)
def test_a_word_is_masked_as_its_first_token_is(seed, first, p):
    tokens = contexts(seed)
    read, source = corrupted("mask_words", tokens, p, first, seed)
    numbers = uniforms(seed, range(first, first + 12), 40)
    for context, row, places, own in zip(tokens, read, source, numbers, strict=True):
        word = 0
        for place, token in enumerate(context):
            if place == 0 or token < 30 or context[place - 1] in (BOS, EOS, 29):
                word = place
            masked = own[word] < p and token not in (BOS, EOS)
            assert (row[place], places[place]) == ((MASK, REPLACED) if masked else (token, place))


@given(SEEDS, st.sampled_from([0.2, 0.3, 0.5]))
def test_words_and_their_tokens_are_masked_at_the_rate(seed, p):
    tokens = np.tile([20, 20, 30, 20, 31, 32], (300, 20))  # words of 1, 2 and 3 tokens
    _, source = corrupted("mask_words", tokens, p, seed=seed)
    masked = source == REPLACED
    words, starts = 300 * 60, np.tile([True, True, False, True, False, False], 20)
    assert abs(masked[:, starts].mean() - p) < 6 * np.sqrt(p * (1 - p) / words)
    # The variance of a word's tokens is p(1-p) times its squared length: 1 + 4 + 9 for 6 tokens.
    assert abs(masked.mean() - p) < 6 * np.sqrt(p * (1 - p) * 14 / 6 / tokens.size)


@given(SEEDS, FIRST, SHARE, SHARE)
def test_a_replaced_token_is_replaced_by_the_same_one_at_every_p(seed, first, one, other):
    tokens = contexts(seed)
    reads = [corrupted("replace", tokens, p, first, seed) for p in (one, other)]
    both = (reads[0].source == REPLACED) & (reads[1].source == REPLACED)
    assert np.array_equal(reads[0].tokens[both], reads[1].tokens[both])
    untouched = reads[0].source >= 0
    assert np.array_equal(reads[0].tokens[untouched], tokens[untouched])


@given(SEEDS)
def test_replacements_are_as_common_as_in_the_text_and_never_special(seed):
    tokens = np.full((200, 100), 20)
    read, source = corrupted("replace", tokens, 0.5, seed=seed)
    drawn = read[source == REPLACED]
    expected = Vocabulary().counts.copy()
    expected[[BOS, EOS]] = 0
    shares, found = expected / expected.sum(), np.bincount(drawn, minlength=50) / len(drawn)
    # Seven standard deviations of each of 50 shares.
    assert np.all(np.abs(found - shares) <= 7 * np.sqrt(shares * (1 - shares) / len(drawn)))
    assert not found[[BOS, EOS, 49]].any()


@given(SEEDS, FIRST)
def test_a_draw_is_a_place_of_the_text_with_its_tokens_sorted(seed, first):
    counts = Vocabulary().counts
    counts[[BOS, EOS]] = 0
    text = np.repeat(np.arange(50), counts)
    own = uniforms(seed, range(first, first + 3), 400, DRAW)
    tokens = np.full((3, 400), 20)
    read, source = corrupted("replace", tokens, 0.9, first, seed)
    assert np.array_equal(read, np.where(source == REPLACED, text[(own * len(text)).astype(int)], tokens))


# Noise: each position is given the difference at another.


@given(SEEDS, FIRST, st.integers(0, 5), st.floats(0, 1))
def test_each_position_that_is_there_is_the_other_of_exactly_one(seed, first, count, share):
    there = np.random.default_rng(seed).random((count, 20)) < share
    others = other_places(there, range(first, first + count), seed)
    for row, own in zip(there, others, strict=True):
        places = np.flatnonzero(row)
        assert sorted(own[places]) == places.tolist()
        assert len(places) == 1 or not np.any(own[places] == places)


@given(SEEDS, FIRST, st.integers(1, 11))
def test_other_places_do_not_depend_on_the_batch(seed, first, size):
    there = np.random.default_rng(seed).random((12, 20)) < 0.7
    whole = other_places(there, range(first, first + 12), seed)
    for start in range(0, 12, size):
        numbers = range(first + start, first + min(start + size, 12))
        assert np.array_equal(other_places(there[start : start + size], numbers, seed), whole[start : start + size])


def test_all_other_places_are_equally_likely():
    others = other_places(np.ones((20_000, 4), bool), range(20_000), 0)
    for place in range(4):
        counts = np.bincount(others[:, place], minlength=4)
        assert counts[place] == 0
        assert np.all(np.abs(np.delete(counts, place) - 20_000 / 3) < 6 * np.sqrt(20_000 * 2 / 9))


# The numbers that all of it goes by.


@given(SEEDS, FIRST)
def test_each_purpose_has_numbers_of_its_own(seed, number):
    kinds = [uniforms(seed, [number], 64, purpose) for purpose in (TOUCH, DRAW, NOISE)]
    assert len(np.unique(kinds)) == 3 * 64


@given(SEEDS, FIRST)
def test_numbers_do_not_depend_on_the_context_length(seed, first):
    numbers = range(first, first + 3)
    assert np.array_equal(uniforms(seed, numbers, 40)[:, :17], uniforms(seed, numbers, 17))


@given(SEEDS, FIRST, FIRST)
def test_another_context_has_other_numbers(seed, one, other):
    same = np.array_equal(uniforms(seed, [one], 64), uniforms(seed, [other], 64))
    assert same == (one == other)


def test_known_numbers():
    """Pinned, so that a change of NumPy that moved them would be noticed: no result could be repeated any more."""
    assert uniforms(0, range(2), 2).tolist() == [
        [0.011546754286331562, 0.24154919656271812],
        [0.8133540609793564, 0.7513314251083365],
    ]
    assert uniforms(3, [5], 2).tolist() == [[0.08910064623458391, 0.33189185276481004]]
    assert [uniforms(0, [0], 1, purpose).item() for purpose in (DRAW, NOISE)] == [
        0.34218278474233466,
        0.8677138611563892,
    ]


# A kind from elsewhere.


def test_a_kind_can_be_written_outside_of_the_package(facts, tokens_folders):
    """As in a notebook: a class is enough, and a stream takes it by its name."""
    from maskedsae.activations.language_models import LanguageModel
    from maskedsae.activations.streams import ActivationStream, Batching
    from maskedsae.text.tokens import Tokens

    @dataclass(frozen=True)
    class Repeat(Corruption, kind="repeat", done="repeated"):
        """A touched token becomes the one before it."""

        def corrupt(self, contexts, numbers, seed, vocabulary):
            hit = uniforms(seed, numbers, contexts.shape[1]) < self.p
            hit[:, 0] = False
            places = np.broadcast_to(np.arange(contexts.shape[1]), contexts.shape)
            return Corrupted(np.where(hit, np.roll(contexts, 1, axis=1), contexts), np.where(hit, REPLACED, places))

    try:
        stream = Stream.from_plain(
            {"name": "repeat30", "corruption": {"kind": "repeat", "p": 0.3}, "rows": "untouched"}
        )
        model = LanguageModel(facts["gpt_neox"], "float32", "cpu")
        tokens = Tokens.open(tokens_folders["gpt_neox"])
        rows = sum(map(len, ActivationStream(model, tokens, stream, 0, Batching(64, 10, 4))))
        assert 0.65 < rows / (400 * 32) < 0.75
    finally:
        del Corruption.kinds["repeat"]
