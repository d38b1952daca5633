"""A stream's batches: what they are made of, their order, and starting anywhere."""

import hashlib
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from conftest import COMPUTE, MASK30, folders, train_settings
from maskedsae.activations.corruptions.base import ABSENT, REPLACED, known_kinds
from maskedsae.activations.language_models import LanguageModel
from maskedsae.activations.settings import Stream
from maskedsae.activations.streams import other_places
from maskedsae.jobs.errors import InputError
from maskedsae.saes.sources import make_stream
from maskedsae.saes.training import train_cells
from maskedsae.text.tokens import Tokens

CLEAN = {"name": "clean"}
MASK = {"kind": "mask", "p": 0.3}
DELETE = {"kind": "delete", "p": 0.3}
REPLACE, WORDS = {"kind": "replace", "p": 0.3}, {"kind": "mask_words", "p": 0.3}
FAMILIES = ("gpt_neox", "gemma2")
BLOCK = 10  # contexts


def stream_of(facts, tokens_folders, family="gpt_neox", stream=MASK30, seed=0, lm_batch=4, **training):
    settings = train_settings(stream=stream, **training)
    reading = replace(settings.model, lm_batch=lm_batch)
    model = LanguageModel(facts[family], "float32", "cpu")
    tokens = Tokens.open(tokens_folders[family])
    return make_stream(model, tokens, settings.stream, seed, reading, settings.training)


def plain_pass(stream, contexts: np.ndarray) -> torch.Tensor:
    """Contexts x positions x width, each context by itself."""
    return torch.cat([stream.model.residual(torch.from_numpy(context[None])) for context in contexts])


def whole_blocks(*arguments, **more):
    """The same in batches of one row, so that none is left over from the block before."""
    return stream_of(*arguments, **{"batch": 1} | more)


def block(stream, number: int) -> torch.Tensor:
    """Every row of a block, in the order in which it is handed out."""
    _, carry, batches = next(iter(stream.blocks(number)))
    assert len(carry) == 0
    return torch.cat(batches)


def kept(stream, start: int = 0, carry: torch.Tensor | None = None) -> list[tuple]:
    """Every block, in memory of its own."""
    return [
        (number, carry, [batch.clone() for batch in batches]) for number, carry, batches in stream.blocks(start, carry)
    ]


def in_any_order(rows: torch.Tensor) -> torch.Tensor:
    """Rows in an order that does not depend on how they were shuffled."""
    return rows[rows[:, 0].sort().indices]


def assert_same_rows(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(in_any_order(one), in_any_order(other), rtol=1e-4, atol=1e-5)


def corrupted(stream, number: int):
    """The block's contexts as they are, as they are read, and what became of each token."""
    first = number * BLOCK
    clean = stream.tokens.contexts(first, first + BLOCK)
    return clean, *stream.stream.corruption.corrupt(clean, range(first, first + BLOCK), stream.seed, stream.vocabulary)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_corruption_a_block_holds_each_activation_of_its_contexts_once(facts, tokens_folders, family):
    stream = whole_blocks(facts, tokens_folders, family, CLEAN)
    expected = plain_pass(stream, stream.tokens.contexts(20, 30)).flatten(0, 1)
    assert_same_rows(block(stream, 2), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_the_papers_stream_all_rows_have_seen_the_masked_context(facts, tokens_folders, family):
    stream = whole_blocks(facts, tokens_folders, family)
    _, read, _ = corrupted(stream, 2)
    assert_same_rows(block(stream, 2), plain_pass(stream, read).flatten(0, 1))


# The two by two of what the rows have seen and which there are.


@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_clean_context_untouched_positions_are_clean_and_masked_ones_are_masked(facts, tokens_folders, family):
    stream = whole_blocks(facts, tokens_folders, family, {"name": "budget", "corruption": MASK, "context": "clean"})
    clean, read, source = corrupted(stream, 2)
    one, other = plain_pass(stream, clean), plain_pass(stream, read)
    expected = torch.where(torch.from_numpy(source >= 0)[..., None], one, other)
    assert 0.2 < (source < 0).mean() < 0.4
    assert_same_rows(block(stream, 2), expected.flatten(0, 1))


def test_untouched_rows_of_a_masked_context_leave_the_masked_positions_out(facts, tokens_folders):
    stream = whole_blocks(facts, tokens_folders, stream={"name": "context", "corruption": MASK, "rows": "untouched"})
    _, read, source = corrupted(stream, 2)
    assert_same_rows(block(stream, 2), plain_pass(stream, read)[torch.from_numpy(source >= 0)])


def test_untouched_rows_of_a_clean_context_are_some_of_the_baselines(facts, tokens_folders):
    fewer = {"name": "fewer", "corruption": MASK, "context": "clean", "rows": "untouched"}
    stream = whole_blocks(facts, tokens_folders, stream=fewer)
    clean, _, source = corrupted(stream, 2)
    assert_same_rows(block(stream, 2), plain_pass(stream, clean)[torch.from_numpy(source >= 0)])


@pytest.mark.parametrize("context", ["corrupted", "clean"])
@pytest.mark.parametrize("rows", ["all", "untouched"])
def test_deleted_tokens_give_no_row_and_the_others_one_each(facts, tokens_folders, context, rows):
    entry = {"name": "deleted", "corruption": DELETE, "context": context, "rows": rows}
    stream = whole_blocks(facts, tokens_folders, stream=entry)
    clean, read, source = corrupted(stream, 2)
    expected = []
    for context_clean, context_read, places in zip(
        plain_pass(stream, clean), plain_pass(stream, read), source, strict=True
    ):
        left = places[places >= 0]
        expected.append(context_clean[left] if context == "clean" else context_read[: len(left)])
    assert_same_rows(block(stream, 2), torch.cat(expected))


@pytest.mark.parametrize("corruption", [MASK, DELETE])
@pytest.mark.parametrize("rows", ["all", "untouched"])
def test_with_noise_the_differences_of_untouched_tokens_have_changed_places(facts, tokens_folders, corruption, rows):
    """Of each context the same differences as in the corrupted stream, none where it belongs; touched rows as there."""
    entry = {"name": "noise", "corruption": corruption, "context": "noise", "rows": rows}
    stream = stream_of(facts, tokens_folders, stream=entry, batch=1)
    clean, read, source = corrupted(stream, 2)
    one, other = plain_pass(stream, clean), plain_pass(stream, read)
    found = stream._read(2).split([int((row >= (0 if rows == "untouched" else -1)).sum()) for row in source])
    for of_clean, of_read, places, given in zip(one, other, source, found, strict=True):
        slots = np.flatnonzero(places >= 0)
        left = places[places != ABSENT] if rows == "all" else places[slots]
        torch.testing.assert_close(
            given[left < 0], of_read[places == REPLACED][: (left < 0).sum()], rtol=1e-4, atol=1e-5
        )
        differences = of_read[slots] - of_clean[places[slots]]
        noise = given[left >= 0] - of_clean[places[slots]]
        distances = torch.cdist(noise, differences)
        # Before the first touched token all differences are 0: those are told apart by nothing.
        seen = differences.norm(dim=1) > 1e-3
        taken = distances.argmin(1)
        assert distances.min(1).values.max() < 1e-3
        assert sorted(taken[seen[taken]].tolist()) == np.flatnonzero(seen).tolist()
        assert not torch.any((taken == torch.arange(len(slots))) & seen[taken])


def test_a_corruption_at_rate_0_gives_the_baselines_batches_bit_for_bit(facts, tokens_folders):
    clean = stream_of(facts, tokens_folders, stream=CLEAN)
    for kind, context in [*((kind, "corrupted") for kind in known_kinds()), ("mask", "noise")]:
        entry = {"name": "none", "corruption": {"kind": kind, "p": 0}, "context": context}
        other = stream_of(facts, tokens_folders, stream=entry)
        assert not other.stream.is_baseline
        assert all(torch.equal(a, b) for a, b in zip(clean, other, strict=True))


# Their order.


def order_in_block(stream, number: int) -> list[int]:
    """For each row that is handed out, its place in the text."""
    clean = plain_pass(stream, stream.tokens.contexts(number * BLOCK, (number + 1) * BLOCK)).flatten(0, 1)
    distances = torch.cdist(block(stream, number), clean)
    return distances.argmin(1).tolist()


def test_the_order_is_pinned_to_seed_and_block(facts, tokens_folders):
    """By a permutation of NumPy's and torch's own: other numbers here are another order in every result."""
    orders = {
        (seed, number): order_in_block(whole_blocks(facts, tokens_folders, stream=CLEAN, seed=seed), number)
        for seed in (0, 1)
        for number in (0, 1)
    }
    for (seed, number), order in orders.items():
        assert sorted(order) == list(range(BLOCK * 32))
        drawn = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
        expected = torch.randperm(BLOCK * 32, generator=torch.Generator().manual_seed(int(drawn) % 2**63))
        assert order == expected.tolist()
    assert len({tuple(order) for order in orders.values()}) == 4
    digest = hashlib.sha256(repr(orders[0, 1]).encode()).hexdigest()[:12]
    assert digest == "89186c51294a"


def test_streams_of_other_p_see_the_same_contexts_in_the_same_order(facts, tokens_folders):
    """The first position sees no other token: where it is not masked, its row is the same, and in the same place."""
    clean, masked = (stream_of(facts, tokens_folders, stream={"name": "s", "p": p}) for p in (0, 0.2))
    one, other = (torch.cat(next(iter(stream.blocks()))[2]) for stream in (clean, masked))
    same = (one - other).norm(dim=1) < 1e-4
    assert same.sum() >= 5  # of 10 contexts; in another order, hardly any row would meet its own


def test_iterating_twice_gives_the_same_batches(facts, tokens_folders):
    stream = stream_of(facts, tokens_folders)
    before = [batch.clone() for batch in stream]
    for one, other in zip(before, stream, strict=True):
        assert torch.equal(one, other)


def test_batches_may_be_changed_in_place(facts, tokens_folders):
    """As trainSAE does when it normalises. 48 does not divide a block's 320 rows: what is carried on is as it was."""
    stream = stream_of(facts, tokens_folders, batch=48)
    before = [batch.clone() for batch in stream]
    for batch in stream:
        batch.div_(7)
    for one, other in zip(before, stream, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("start", [1, 3, 39])
def test_starting_at_a_block_goes_on_as_if_never_stopped(facts, tokens_folders, start):
    # 48 does not divide a block's 320 activations: rows are left over and carried on.
    whole = kept(stream_of(facts, tokens_folders, batch=48))
    _, carry, _ = whole[start]
    rest = stream_of(facts, tokens_folders, batch=48).blocks(start, carry)
    for (number, _, expected), (same, _, batches) in zip(whole[start:], rest, strict=True):
        assert number == same
        assert torch.equal(torch.stack(expected), torch.stack(batches))


@pytest.mark.parametrize("corruption", [MASK, DELETE, REPLACE, WORDS])
def test_dropped_rows_are_carried_on_too(facts, tokens_folders, corruption):
    entry = {"name": "dropped", "corruption": corruption, "rows": "untouched"}
    whole = kept(stream_of(facts, tokens_folders, stream=entry))
    rest = stream_of(facts, tokens_folders, stream=entry).blocks(3, whole[3][1])
    for (_, _, expected), (_, _, batches) in zip(whole[3:], rest, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(expected, batches, strict=True))
        assert {len(batch) for batch in batches} <= {64}


def test_no_activation_is_lost_between_blocks(facts, tokens_folders):
    batches = list(stream_of(facts, tokens_folders, batch=48))
    assert sum(map(len, batches)) == 400 * 32 // 48 * 48


def test_the_models_batch_size_does_not_matter_but_for_rounding(facts, tokens_folders):
    one, other = (next(iter(stream_of(facts, tokens_folders, lm_batch=size))) for size in (1, 10))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


# The buffers.


def plain_rows(stream, number: int) -> torch.Tensor:
    """A block's rows in the order of the text, by torch's own indexing and in new tensors."""
    parts, size = [], stream.batching.lm_batch
    stop = min((number + 1) * BLOCK, stream.tokens.n_train)
    for first in range(number * BLOCK, stop, size):
        numbers = range(first, min(first + size, stop))
        clean = stream.tokens.contexts(numbers.start, numbers.stop)
        read, source = clean, np.broadcast_to(np.arange(clean.shape[1]), clean.shape)
        if stream.stream.corruption:
            read, source = stream.stream.corruption.corrupt(clean, numbers, stream.seed, stream.vocabulary)
        rows, places = stream.model.residual(torch.from_numpy(read)), torch.from_numpy(source.copy())
        after = int(stream.batching.drop_bos)
        if stream.stream.context != "corrupted":
            of_clean = stream.model.residual(torch.from_numpy(clean))
            of_clean = of_clean[torch.arange(len(clean))[:, None], places.clamp(min=0)]
            noise = torch.zeros_like(rows)
            if stream.stream.context == "noise":
                untouched = (places >= 0).numpy()
                untouched[:, :after] = False
                others = torch.from_numpy(other_places(untouched, numbers, stream.seed))
                noise = (rows - of_clean)[torch.arange(len(clean))[:, None], others]
            rows = torch.where(places[..., None] >= 0, of_clean + noise, rows)
        there = places >= 0 if stream.stream.rows == "untouched" else places != ABSENT
        parts.append(rows[:, after:][there[:, after:]])
    rows = torch.cat(parts)
    if stream.batching.max_norm_multiple is not None:
        norms = rows.float().norm(dim=-1)
        rows = rows[norms <= stream.batching.max_norm_multiple * norms.median()]
    return rows


def plain_blocks(stream) -> list[tuple]:
    blocks, carry, size = [], None, stream.batching.batch
    for number in range(-(-stream.tokens.n_train // BLOCK)):
        rows = plain_rows(stream, number)
        seed = np.random.SeedSequence([stream.seed, number]).generate_state(1, np.uint64)[0]
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(int(seed) % 2**63))]
        carry = rows[:0] if carry is None else carry
        rows = torch.cat([carry, rows])
        whole = len(rows) // size * size
        blocks.append((number, carry, list(rows[:whole].split(size)) if whole else []))
        carry = rows[whole:]
    return blocks


def assert_same_blocks(found: list[tuple], expected: list[tuple]) -> None:
    for (number, carry, batches), (same, carried, expected_batches) in zip(found, expected, strict=True):
        assert number == same and torch.equal(carry, carried)
        assert all(torch.equal(one, other) for one, other in zip(batches, expected_batches, strict=True))


EVERY_STREAM = [CLEAN] + [
    {"name": "s", "corruption": corruption, "context": context, "rows": rows}
    for corruption in (MASK, DELETE, {"kind": "delete", "p": 0})
    for context in ("corrupted", "clean", "noise")
    for rows in ("all", "untouched")
]
EVERY_STREAM += [{"name": "s", "corruption": corruption} for corruption in (REPLACE, WORDS, MASK | {"string": " ..."})]


@pytest.mark.parametrize("entry", EVERY_STREAM)
@pytest.mark.parametrize(
    "more",
    [{}, {"batch": 48}, {"batch": 700}, {"batch": 48, "drop_bos": True}, {"batch": 48, "max_norm_multiple": 1.1}],
)
def test_the_buffers_hold_what_new_tensors_would_bit_for_bit(facts, tokens_folders, entry, more):
    """Of 44 contexts, so that the last block is a short one; 700 rows are more than a block's."""
    stream = stream_of(facts, tokens_folders, stream=entry, **more)
    stream.tokens = stream.tokens.first(44)
    expected = plain_blocks(stream)
    assert_same_blocks(kept(stream), expected)
    for start in (2, 4):
        assert_same_blocks(kept(stream, start, expected[start][1]), expected[start:])


@pytest.mark.parametrize("entry", [CLEAN, {"name": "fewer", "corruption": DELETE, "context": "clean"}])
def test_every_block_is_in_the_same_memory(facts, tokens_folders, entry):
    stream = stream_of(facts, tokens_folders, stream=entry, batch=48)
    places = set()
    for _ in range(2):
        for _, carry, batches in stream.blocks():
            assert stream._buffers.shuffled.data_ptr() == batches[0].data_ptr()
            assert carry.untyped_storage().nbytes() == carry.nbytes  # a checkpoint's file would hold the rest too
            places.add(tuple(buffer.data_ptr() for buffer in stream._buffers))
    assert len(places) == 1


def test_block_0_is_read_by_the_model_once_though_the_norm_and_then_the_training_ask_for_it(
    facts, tokens_folders, monkeypatch
):
    stream, passes = stream_of(facts, tokens_folders), []
    residual = stream.model.residual
    monkeypatch.setattr(stream.model, "residual", lambda *given: passes.append(given) or residual(*given))
    first = [batch.clone() for batch in islice(stream, 5)]
    for batch in islice(stream, 5):
        batch.div_(7)
    assert all(map(torch.equal, first, islice(stream, 5)))
    assert len(passes) == 3  # 10 contexts, 4 at a time
    next(stream.blocks(1))
    assert all(map(torch.equal, first, islice(stream, 5)))
    assert len(passes) == 3 * 3


# What is left out.


@pytest.mark.parametrize("stream", [CLEAN, MASK30, {"name": "b", "corruption": MASK, "context": "clean"}])
def test_bos_can_be_left_out(facts, tokens_folders, stream):
    """The first position, and no other: of each context the rows of all later ones."""
    stream = whole_blocks(facts, tokens_folders, "gemma2", stream, drop_bos=True)
    whole = whole_blocks(facts, tokens_folders, "gemma2", stream.stream.plain())
    rows, every = block(stream, 1), block(whole, 1)
    assert len(rows) == BLOCK * 31
    first = plain_pass(stream, stream.tokens.contexts(10, 11))[0, 0]  # BOS: the same in each context
    kept = every[(every - first).norm(dim=1) > 1e-3]
    assert_same_rows(rows, kept)


def test_high_norms_are_left_out_block_by_block(facts, tokens_folders):
    whole = block(whole_blocks(facts, tokens_folders, stream=CLEAN), 1)
    norms = whole.norm(dim=1)
    multiple = (norms.max() / norms.median()).item() * 0.8
    kept = block(whole_blocks(facts, tokens_folders, stream=CLEAN, max_norm_multiple=multiple), 1)
    expected = whole[norms <= multiple * norms.median()]
    assert 0 < len(expected) < len(whole)
    assert_same_rows(kept, expected)


def test_a_stream_that_drops_too_much_is_an_error(facts, tokens_folders, tmp_path):
    settings = train_settings(max_norm_multiple=1.0001, tokens=64 * 150)
    with pytest.raises(InputError, match=r"raise training\.max_norm_multiple"):
        manifest = tokens_folders["gpt_neox"] / "manifest.json"
        train_cells(folders(tmp_path, 8), settings, facts["gpt_neox"], manifest, COMPUTE)


# What a configuration may say of one.


def test_the_short_form_is_a_mask_and_p_0_in_it_is_none():
    assert Stream.from_plain({"name": "m", "p": 0.3}) == Stream.from_plain({"name": "m", "corruption": MASK})
    assert Stream.from_plain({"name": "c", "p": 0}) == Stream.from_plain({"name": "c"}) == Stream("c")


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"p": 0.3, "corruption": MASK}, "p: given beside corruption, which has its own p: keep one of the two"),
        ({"corruption": {"p": 0.3}}, "corruption.kind: missing: one of delete, mask, mask_words, replace"),
        (
            {"corruption": {"kind": "masc", "p": 0.3}},
            "masc is not one of delete, mask, mask_words, replace (did you mean mask?)",
        ),
        ({"corruption": {"kind": "mask", "p": 1}}, "p: 1 is out of range: it must be at least 0 and less than 1"),
        ({"corruption": {"kind": "mask"}}, "corruption.p: missing"),
        ({"corruption": MASK | {"q": 1}}, "corruption.q: unknown key: known are p, string"),
        ({"corruption": MASK | {"string": 3}}, "corruption.string: 3 is not str"),
        ({"corruption": WORDS | {"string": "…"}}, "corruption.string: unknown key: known are p"),
        ({"context": "clean"}, "context and rows say something about a corruption, and this stream has none"),
        ({"corruption": MASK, "rows": "some"}, "rows: some is not one of all, untouched"),
        ({"corruption": MASK, "context": "dirty"}, "context: dirty is not one of corrupted, clean, noise"),
    ],
)
def test_what_makes_no_stream_is_refused_in_a_line(entry, line):
    with pytest.raises(InputError) as error:
        Stream.from_plain({"name": "s", **entry})
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("context", ["corrupted", "clean", "noise"])
@pytest.mark.parametrize("rows", ["all", "untouched"])
@pytest.mark.parametrize("corruption", [None, MASK, DELETE, REPLACE, WORDS, MASK | {"string": "…"}])
def test_what_is_spelled_out_is_read_back(corruption, context, rows):
    if corruption is None:
        context, rows = "corrupted", "all"
    entry = {"name": "s", "corruption": corruption, "context": context, "rows": rows}
    assert Stream.from_plain(entry).plain() == entry
    assert Stream.from_plain(Stream.from_plain(entry).plain()) == Stream.from_plain(entry)
