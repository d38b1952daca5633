"""A stream's batches: what they are made of, their order, and starting anywhere."""

import pytest
import torch

from conftest import COMPUTE, train_settings
from maskedsae.activations.language_models import LanguageModel
from maskedsae.activations.masks import mask_tokens
from maskedsae.jobs.errors import InputError
from maskedsae.saes.training import make_stream, train_set
from maskedsae.text.tokens import Tokens


def stream_of(facts, tokens_folders, family="gpt_neox", p=0.3, seed=0, lm_batch=4, **training):
    settings = train_settings(p=p, **training)
    settings["seed"], settings["model"]["lm_batch"] = seed, lm_batch
    model = LanguageModel(facts[family], "float32", "cpu")
    return make_stream(model, Tokens.open(tokens_folders[family]), settings, facts[family])


def as_set(rows: torch.Tensor) -> torch.Tensor:
    """Rows in an order that does not depend on how they were shuffled."""
    return rows[rows[:, 0].sort().indices]


@pytest.mark.parametrize("family", ["gpt_neox", "gemma2"])
@pytest.mark.parametrize("p", [0, 0.3])
def test_a_block_holds_each_activation_of_its_contexts_once(facts, tokens_folders, family, p):
    stream = stream_of(facts, tokens_folders, family, p)
    _, _, batches = next(iter(stream.blocks(2)))
    contexts = Tokens.open(tokens_folders[family]).contexts(20, 30)
    masked = mask_tokens(contexts, 20, p, 0, facts[family]["mask_id"], facts[family]["special_ids"])
    expected = stream.model.residual(torch.from_numpy(masked)).flatten(0, 1)
    torch.testing.assert_close(as_set(torch.cat(batches)), as_set(expected), rtol=1e-5, atol=1e-6)


def test_activations_are_shuffled_within_their_block(facts, tokens_folders):
    stream = stream_of(facts, tokens_folders, p=0)
    _, _, batches = next(iter(stream.blocks()))
    in_order = stream.model.residual(torch.from_numpy(Tokens.open(tokens_folders["gpt_neox"]).contexts(0, 10)))
    assert not torch.allclose(torch.cat(batches), in_order.flatten(0, 1))


def test_streams_of_other_p_see_the_same_contexts_in_the_same_order(facts, tokens_folders):
    """The first position sees no other token: where it is not masked, its row is the same, and in the same place."""
    clean, masked = (stream_of(facts, tokens_folders, p=p) for p in (0, 0.2))
    one, other = (torch.cat(next(iter(stream.blocks()))[2]) for stream in (clean, masked))
    same = (one - other).norm(dim=1) < 1e-4
    assert same.sum() >= 5  # of 10 contexts; in another order, hardly any row would meet its own


def test_iterating_twice_gives_the_same_batches(facts, tokens_folders):
    stream = stream_of(facts, tokens_folders)
    for one, other in zip(stream, stream, strict=True):
        assert torch.equal(one, other)


def test_batches_may_be_changed_in_place(facts, tokens_folders):
    """As trainSAE does when it normalises."""
    stream = stream_of(facts, tokens_folders)
    before = [batch.clone() for batch in stream]
    for batch in stream:
        batch.div_(7)
    for one, other in zip(before, stream, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("start", [1, 3, 39])
def test_starting_at_a_block_goes_on_as_if_never_stopped(facts, tokens_folders, start):
    # 48 does not divide a block's 320 activations: rows are left over and carried on.
    whole = list(stream_of(facts, tokens_folders, batch=48).blocks())
    _, carry, _ = whole[start]
    rest = stream_of(facts, tokens_folders, batch=48).blocks(start, carry)
    for (block, _, expected), (number, _, batches) in zip(whole[start:], rest, strict=True):
        assert block == number
        assert torch.equal(torch.stack(expected), torch.stack(batches))


def test_no_activation_is_lost_between_blocks(facts, tokens_folders):
    batches = list(stream_of(facts, tokens_folders, batch=48))
    assert sum(map(len, batches)) == 400 * 32 // 48 * 48


def test_another_seed_gives_another_order_and_other_masks(facts, tokens_folders):
    one, other = (next(iter(stream_of(facts, tokens_folders, seed=seed))) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_the_models_batch_size_does_not_matter_but_for_rounding(facts, tokens_folders):
    one, other = (next(iter(stream_of(facts, tokens_folders, lm_batch=size))) for size in (1, 10))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_bos_can_be_left_out(facts, tokens_folders):
    stream = stream_of(facts, tokens_folders, "gemma2", drop_bos=True)
    _, _, batches = next(iter(stream.blocks()))
    _, carry, _ = list(stream.blocks())[1]
    assert sum(map(len, batches)) + len(carry) == 10 * 31


def test_high_norms_can_be_left_out(facts, tokens_folders):
    norms = torch.cat(list(stream_of(facts, tokens_folders, p=0))).norm(dim=1)
    limit = (norms.max() / norms.median()).item() * 0.8
    kept = torch.cat(list(stream_of(facts, tokens_folders, p=0, max_norm_multiple=limit))).norm(dim=1)
    assert len(kept) < len(norms) and kept.max() < norms.max()


def test_a_stream_that_drops_too_much_is_an_error(facts, tokens_folders, tmp_path):
    settings = train_settings(max_norm_multiple=1.0001, tokens=64 * 150)
    with pytest.raises(InputError, match=r"raise training\.max_norm_multiple"):
        train_set({8: tmp_path / "l0_8"}, settings, facts["gpt_neox"], tokens_folders["gpt_neox"], COMPUTE)
