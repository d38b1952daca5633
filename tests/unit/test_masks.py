"""Which tokens are masked depends on (seed, context, position) and p alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskedsae.activations.masks import mask_tokens, uniforms

MASK, BOS, EOS = 7, 1, 2
SEEDS = st.integers(0, 2**32 - 1)
FIRST = st.integers(0, 2**40)
SHARE = st.floats(0, 1)


def contexts(seed: int, count: int = 12, length: int = 40) -> np.ndarray:
    """Random tokens, among them BOS and EOS."""
    return np.random.default_rng(seed).integers(0, 50, (count, length))


def masked(tokens, p, first=0, seed=0):
    return mask_tokens(tokens, first, p, seed, MASK, [BOS, EOS])


@given(SEEDS, FIRST)
def test_p_0_is_the_untouched_stream(seed, first):
    tokens = contexts(seed)
    assert np.array_equal(masked(tokens, 0, first, seed), tokens)


@given(SEEDS)
def test_p_1_masks_all_but_special_tokens(seed):
    tokens = contexts(seed)
    expected = np.where(np.isin(tokens, [BOS, EOS]), tokens, MASK)
    assert np.array_equal(masked(tokens, 1, seed=seed), expected)


@given(SEEDS, FIRST, SHARE)
def test_special_tokens_are_never_masked_and_others_only_become_the_mask(seed, first, p):
    tokens = contexts(seed)
    result = masked(tokens, p, first, seed)
    special = np.isin(tokens, [BOS, EOS])
    assert np.array_equal(result[special], tokens[special])
    assert np.all((result == tokens) | (result == MASK))


@given(SEEDS, FIRST, SHARE, SHARE)
def test_masks_are_nested_in_p(seed, first, one, other):
    low, high = sorted((one, other))
    numbers = uniforms(seed, first, 12, 40)
    assert np.all((numbers < high) | ~(numbers < low))
    tokens = np.full((12, 40), 20)
    assert np.all((masked(tokens, high, first, seed) == MASK) | (masked(tokens, low, first, seed) == 20))


@given(SEEDS, FIRST, SHARE, st.integers(1, 11))
def test_blocks_of_any_size_give_the_same_masks(seed, first, p, block):
    tokens = contexts(seed)
    whole = masked(tokens, p, first, seed)
    parts = [masked(tokens[i : i + block], p, first + i, seed) for i in range(0, len(tokens), block)]
    assert np.array_equal(np.concatenate(parts), whole)


@given(SEEDS, FIRST)
def test_numbers_do_not_depend_on_the_context_length(seed, first):
    assert np.array_equal(uniforms(seed, first, 3, 40)[:, :17], uniforms(seed, first, 3, 17))


@given(SEEDS, st.sampled_from([0.2, 0.3, 0.5]))
def test_rates_are_within_binomial_bounds(seed, p):
    numbers = uniforms(seed, 0, 200, 100)
    # Six standard deviations: one failure in 10^9 draws, were the numbers random.
    assert abs((numbers < p).mean() - p) < 6 * np.sqrt(p * (1 - p) / numbers.size)


@given(SEEDS, SEEDS)
def test_another_seed_gives_other_masks(one, other):
    same = np.array_equal(uniforms(one, 0, 4, 64), uniforms(other, 0, 4, 64))
    assert same == (one == other)


@given(SEEDS, FIRST, FIRST)
def test_another_context_gives_other_masks(seed, one, other):
    same = np.array_equal(uniforms(seed, one, 1, 64), uniforms(seed, other, 1, 64))
    assert same == (one == other)


def test_known_numbers():
    """Pinned, so that a change of NumPy that moved them would be noticed: no result could be repeated any more."""
    assert uniforms(0, 0, 2, 2).tolist() == [
        [0.011546754286331562, 0.24154919656271812],
        [0.8133540609793564, 0.7513314251083365],
    ]
