"""Planted truths: their rates, what a mask does to them, training on them, and scores with known answers."""

import json
from dataclasses import replace

import pytest
import torch
from dictionary_learning.training import trainSAE
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from conftest import COMPUTE, MATRYOSHKA, folders, train_settings
from maskedsae.activations.planted.settings import Correlation, Filler, Planted, PlantedFacts, TruthSettings, Zipf
from maskedsae.activations.planted.stream import PlantedStream
from maskedsae.activations.planted.truth import Draw, Truth, describe, read_facts, write_facts
from maskedsae.activations.settings import Stream
from maskedsae.jobs.errors import InputError
from maskedsae.saes.planted import PlantedSource
from maskedsae.saes.trainers.base import trainer_arguments, trainer_kind
from maskedsae.saes.training import train_from
from maskedsae.scores.ood.latents import Encoder
from maskedsae.scores.planted.scores import HeldOutTruth

# More dimensions than features, so that a row's features can be read off it exactly.
PLANTED = Planted(
    width=64,
    parents=4,
    children=3,
    parent_rate=0.3,
    child_rate=0.4,
    free=8,
    free_rates=Zipf(1.0, 0.3, 0.05),
    spread=0.0,
    correlation=Correlation(4, 0.0),
    filler=Filler(5.0, 0.5),
    broken=0.5,
    heldout_rows=4000,
)
ROWS = 20_000  # standard error of a rate at most 0.0035
STREAMS = {
    "clean": {},
    "paper": {"p": 0.3},
    "budget": {"p": 0.3, "context": "clean"},
    "context": {"p": 0.3, "rows": "untouched"},
    "fewer": {"p": 0.3, "context": "clean", "rows": "untouched"},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def facts_of(**changes) -> PlantedFacts:
    return describe(TruthSettings("planted", replace(PLANTED, **changes)))


def stream_of(name: str, seed: int = 0, batch: int = 64, rows: int = ROWS, **changes) -> PlantedStream:
    truth = Truth(facts_of(**changes), seed)
    return PlantedStream(truth, Stream.from_plain({"name": name, **STREAMS[name]}), batch, rows, "cpu")


def features_in(rows: torch.Tensor, truth: Truth) -> torch.Tensor:
    """Which features are active in rows of this truth."""
    return rows @ torch.linalg.pinv(truth.directions) > 0.5


def parent_beside_child(active: torch.Tensor, truth: Truth) -> float:
    """How often the parent is active where a child is."""
    children = active[:, truth.families]
    return (children & active[:, : truth.planted.parents, None]).sum().item() / children.sum().item()


# Rates.


@pytest.mark.parametrize("scale", [0.0, 0.3])
def test_features_are_active_at_the_stated_rates(scale):
    """With correlations, too: they are not between a child and its parent."""
    stream = stream_of("clean", correlation=Correlation(4, scale))
    active, truth = features_in(stream.rows(0), stream.model), stream.model
    rates = active.double().mean(0)
    parents, families = active[:, :4], active[:, truth.families]
    assert rates[:4] == pytest.approx([0.3] * 4, abs=0.015)
    of_children = (families & parents[:, :, None]).sum(0) / parents.sum(0)[:, None]
    assert of_children.flatten().tolist() == pytest.approx([0.4] * 12, abs=0.03)
    assert (rates[16], rates[23]) == (pytest.approx(0.3, abs=0.015), pytest.approx(0.05, abs=0.01))
    assert torch.all(rates[16:].diff() < 0.01)
    assert parent_beside_child(active, truth) == 1
    assert active.sum(1).double().mean().item() == pytest.approx(truth.facts.l0, abs=0.1)
    # Parents and free features go together only where the configuration says so.
    together = torch.corrcoef(active[:, [0, 1, 2, 3, *range(16, 24)]].double().T) - torch.eye(12)
    assert (together.abs().max().item() > 0.1) == (scale > 0)


@pytest.mark.parametrize("broken", [0.0, 0.5, 1.0])
def test_a_corrupted_context_breaks_co_occurrence_and_keeps_every_rate(broken):
    corrupted, clean = stream_of("context", broken=broken), stream_of("fewer", broken=broken)
    ours, theirs = (features_in(stream.rows(0), stream.model) for stream in (corrupted, clean))
    assert ours.double().mean(0).tolist() == pytest.approx(theirs.double().mean(0).tolist(), abs=0.02)
    # A broken row's parent is active at its own rate.
    assert parent_beside_child(ours, corrupted.model) == pytest.approx(1 - broken * (1 - 0.3), abs=0.02)
    assert parent_beside_child(theirs, clean.model) == 1
    assert torch.equal(ours[:, :4], theirs[:, :4]) and torch.equal(ours[:, 16:], theirs[:, 16:])


def test_the_arms_have_the_same_clean_rows_underneath():
    rows = {name: stream_of(name).rows(2) for name in STREAMS}
    untouched = (rows["budget"] == rows["clean"]).all(1)
    assert untouched.double().mean() == pytest.approx(0.7, abs=0.015)
    assert torch.equal(rows["fewer"], rows["clean"][untouched])
    assert torch.equal(rows["context"], rows["paper"][untouched])
    filler = rows["budget"][~untouched]
    assert torch.equal(filler, rows["paper"][~untouched])
    # One vector of norm 5, and noise of norm 0.5.
    assert filler.mean(0).norm().item() == pytest.approx(5, abs=0.02)
    assert (filler - filler.mean(0)).norm(dim=1).mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(facts_of(), 0)


@given(small=st.floats(0, 0.9), large=st.floats(0, 0.9), block=st.integers(0, 10**6))
@hypothesis_settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_a_smaller_rate_touches_a_subset_and_none_leaves_the_clean_rows(truth, small, large, block):
    small, large = sorted((small, large))
    masks = [{"kind": "mask", "p": p} for p in (small, large)]
    streams = [Stream.from_plain({"name": "m", "corruption": mask, "context": "clean"}) for mask in masks]
    streams.insert(0, Stream("clean"))
    clean, few, many = (PlantedStream(truth, stream, 64, 500, "cpu").rows(block) for stream in streams)
    touched_by_few, touched_by_many = (few != clean).any(1), (many != clean).any(1)
    assert not (touched_by_few & ~touched_by_many).any()
    assert small > 0 or torch.equal(few, clean)


def test_seeds_are_different_worlds_and_blocks_different_rows():
    one, other = stream_of("clean", seed=0), stream_of("clean", seed=1)
    assert (one.model.directions @ other.model.directions.T).abs().max() < 0.7
    active = [features_in(rows, stream.model) for stream, rows in ((one, one.rows(0)), (other, other.rows(0)))]
    assert not torch.equal(*active)
    heldout = one.model.features(ROWS, Draw.HELDOUT)
    assert not torch.equal(features_in(one.rows(1), one.model), active[0])
    assert not torch.equal(heldout > 0, active[0])


def test_a_truth_is_its_facts_and_a_seed(tmp_path):
    settings = TruthSettings("planted", PLANTED)
    write_facts(tmp_path / "model.json", settings)
    known = read_facts(tmp_path / "model.json")
    assert known == describe(settings)
    assert (known.features, known.width) == (24, 64)
    before = torch.get_rng_state()
    one, again = Truth(known, 3), Truth(known, 3)
    assert torch.equal(one.directions, again.directions)
    assert torch.equal(one.features(10, Draw.ROWS, 5), again.features(10, Draw.ROWS, 5))
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's random numbers change
    with torch.no_grad():
        assert torch.equal(Truth(known, 3).directions, one.directions)


# The stream.


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_may_start_at_any_block_with_what_the_last_one_left_over(name):
    stream = stream_of(name, batch=48, rows=500)
    blocks = []
    for block, carry, batches in stream.blocks():
        blocks.append((block, carry, batches))
        if block == 4:
            break
    assert all(len(batch) == 48 for _, _, batches in blocks for batch in batches)
    whole = torch.cat([batch for _, _, batches in blocks for batch in batches])
    assert torch.equal(whole, torch.cat([stream.rows(block) for block in range(5)])[: len(whole)])
    for start in (2, 4):
        block, carry, batches = next(stream_of(name, batch=48, rows=500).blocks(start, blocks[start][1]))
        assert (block, len(carry) > 0) == (start, True)
        assert torch.equal(torch.cat(batches), torch.cat(blocks[start][2]))


# Training.


def source_of(settings) -> PlantedSource:
    return PlantedSource(facts_of(), settings, "cpu")


def weights(folder):
    return torch.load(folder / "sae" / "ae.pt", weights_only=True)


def test_training_on_it_equals_train_sae_bit_for_bit(tmp_path):
    settings = train_settings(tokens=64 * 110, norm_batches=101)
    source = source_of(settings)
    arguments = trainer_arguments(settings.for_cell(MATRYOSHKA, 0), 8, source.facts, "cpu")

    def make(**given):
        trainer = trainer_kind(MATRYOSHKA).make(**given)
        trainer.dead_feature_threshold = settings.trainers[MATRYOSHKA].settings["dead_after_tokens"]
        return trainer

    torch.manual_seed(0)
    trainSAE(
        data=source.rows,
        trainer_configs=[arguments | {"trainer": make}],
        steps=110,
        normalize_activations=True,
        save_dir=str(tmp_path / "stock"),
        device="cpu",
        autocast_dtype=torch.float32,
    )
    train_from(source_of(settings), folders(tmp_path / "ours", 8), settings, COMPUTE)
    ours, stock = weights(tmp_path / "ours/l0_8"), torch.load(tmp_path / "stock/trainer_0/ae.pt", weights_only=True)
    assert ours.keys() == stock.keys()
    assert all(torch.equal(ours[name], stock[name]) for name in ours)


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path, monkeypatch):
    """Batches do not divide a block, so that rows are carried over in the checkpoint."""
    settings = train_settings(step="fast", batch=48, tokens=4800)
    every_block = replace(COMPUTE, checkpoint_minutes=0)
    train_from(source_of(settings), folders(tmp_path / "whole", 4, 8), settings, every_block)
    original = PlantedStream.rows

    def stopped(stream, block):
        if block == 7:
            raise KeyboardInterrupt
        return original(stream, block)

    parts = folders(tmp_path / "parts", 4, 8)
    with monkeypatch.context() as patch:
        patch.setattr(PlantedStream, "rows", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_from(source_of(settings), parts, settings, every_block)
    asked = []
    monkeypatch.setattr(PlantedStream, "rows", lambda stream, block: asked.append(block) or original(stream, block))
    train_from(source_of(settings), parts, settings, every_block)
    assert asked[0] == 6  # the block of the last checkpoint
    for file in ("ae.pt", "sae_weights.safetensors", "quality.json", "config.json"):
        for l0 in (4, 8):
            whole, again = (tmp_path / kind / f"l0_{l0}" / "sae" / file for kind in ("whole", "parts"))
            assert again.read_bytes() == whole.read_bytes(), file


def test_other_settings_of_the_truth_start_over(tmp_path):
    settings = train_settings()
    train_from(source_of(settings), folders(tmp_path, 8), settings, COMPUTE)
    before = weights(tmp_path / "l0_8")
    other = PlantedSource(facts_of(broken=0.6), settings, "cpu")
    train_from(other, folders(tmp_path, 8), settings, COMPUTE)
    assert list((tmp_path / "l0_8/checkpoint").glob("state_of_other_settings*"))
    assert not torch.equal(before["W_dec"], weights(tmp_path / "l0_8")["W_dec"])


# Scores.


def sae_of(folder, encoder: torch.Tensor, decoder: torch.Tensor, threshold: float = 0.5) -> Encoder:
    """An SAE with these weights (latents x width), in the files that a cell has."""
    folder.mkdir(exist_ok=True)
    latents, width = decoder.shape
    tensors = {"W_enc": encoder.T, "W_dec": decoder, "b_enc": torch.zeros(latents), "b_dec": torch.zeros(width)}
    tensors["threshold"] = torch.full((latents,), threshold)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"architecture": "jumprelu", "apply_b_dec_to_input": True}))
    return Encoder(folder)


@pytest.fixture(scope="module")
def heldout() -> HeldOutTruth:
    return HeldOutTruth(facts_of(), 0)


@pytest.fixture(scope="module")
def readers(heldout) -> torch.Tensor:
    """Directions that read one feature each, and no other."""
    return torch.linalg.pinv(heldout.directions).T


def test_the_truth_itself_misses_nothing(heldout, readers, tmp_path):
    scores = heldout.scores(sae_of(tmp_path, readers, heldout.directions))
    assert scores["missed"] == scores["missed_alone"] == 0
    in_filler = (heldout.filler @ readers.T > 0.5).sum(1).double().mean().item()
    assert scores["l0_on_filler"] == pytest.approx(in_filler, abs=1e-3) != 0
    assert scores["absorption_fraction"] == pytest.approx(0, abs=1e-5)
    for kind in ("parents", "children", "free"):
        assert scores[f"{kind}_recovered"] == 1
        assert scores[f"{kind}_cosine"] == pytest.approx(1, abs=1e-5)
    assert scores["explained_variance"] == pytest.approx(1, abs=1e-6)
    assert scores["l0"] == pytest.approx((heldout.features > 0).sum(1).double().mean().item(), abs=1e-9)


def test_an_sae_that_absorbs_misses_every_parent_beside_a_child_and_none_alone(heldout, readers, tmp_path):
    """A child's latent also writes its parent, whose own latent is silent then."""
    encoder, decoder = readers.clone(), heldout.directions.clone()
    for parent, family in enumerate(heldout.families.tolist()):
        encoder[parent] -= readers[family].sum(0)
        decoder[family] += heldout.directions[parent]
    scores = heldout.scores(sae_of(tmp_path, encoder, decoder))
    assert (scores["missed"], scores["missed_alone"]) == (1, 0)
    assert scores["absorption_fraction"] == pytest.approx(1, abs=1e-5)
    assert (scores["parents_recovered"], scores["children_recovered"], scores["free_recovered"]) == (1, 0, 1)
    assert scores["children_cosine"] == pytest.approx(2**-0.5, abs=0.03)


def test_an_sae_whose_parents_never_speak_misses_them_alone_too(heldout, readers, tmp_path):
    encoder = readers.clone()
    encoder[:4] = 0
    scores = heldout.scores(sae_of(tmp_path, encoder, heldout.directions))
    assert scores["missed"] == scores["missed_alone"] == 1
    assert scores["parents_recovered"] == 1


def test_the_threshold_is_set_for_the_nominal_l0_and_for_what_masking_frees(heldout, readers, tmp_path):
    torch.manual_seed(0)
    sae = sae_of(tmp_path, readers + 0.1 * torch.randn_like(readers), heldout.directions)
    before = sae.weights["threshold"].clone()
    scores = dict(heldout.at_thresholds(sae, 2, (0.3, 0.125)))
    assert scores["at_nominal.l0"] == pytest.approx(2, abs=1e-3)
    assert scores["at_freed_30.l0"] == pytest.approx(2 / 0.7, abs=1e-3)
    assert scores["at_freed_12.5.l0"] == pytest.approx(2 / 0.875, abs=1e-3)
    assert scores["at_nominal.missed"] > scores["at_freed_30.missed"]
    assert torch.equal(sae.weights["threshold"], before)
    sae.weights["threshold"][0] = 7  # JumpReLU's, one a latent
    assert not dict(heldout.at_thresholds(sae, 2, (0.3,)))
    del sae.weights["threshold"]  # TopK's
    assert not dict(heldout.at_thresholds(sae, 2, (0.3,)))


def test_too_few_held_out_rows_are_refused():
    line = (
        "models: planted: planted.heldout_rows: in 2 rows no parent is active with a child, or none without: raise it"
    )
    with pytest.raises(InputError) as error:
        HeldOutTruth(facts_of(heldout_rows=2, parent_rate=0.001), 0)
    assert str(error.value) == line
