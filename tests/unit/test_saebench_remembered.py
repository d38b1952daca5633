"""What SAEBench computes while an SAE's encodings are remembered: the same, to the last bit, and less often."""

import gc
import weakref

import pytest
import torch
from sae_bench.evals.scr_and_tpp import main as scr_and_tpp
from sae_bench.evals.sparse_probing.probe_training import Probe

from maskedsae.scores.saebench.active import Active
from maskedsae.scores.saebench.parts import placeholder_sae
from maskedsae.scores.saebench.remembered import Remembered, remembering, remembering_in

SMALL = ("small", 16, 0, "float32", "cpu")  # name, width, layer


@pytest.fixture
def sae():
    with torch.no_grad():
        yield placeholder_sae(*SMALL)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().tobytes()


@pytest.mark.parametrize("perform_scr", [False, True])
def test_saebenchs_ablations_are_the_same_and_encode_each_batch_once(sae, perform_scr):
    classes = ["male / female", "professor / nurse", "male_professor / female_nurse"]
    others = ["female_data_only", "nurse_data_only", "female_nurse_data_only"] if perform_scr else []
    generator = torch.Generator().manual_seed(0)
    acts = {name: torch.randn(10, 6, 16, generator=generator) for name in classes + others}
    effects = {name: torch.randn(64, generator=generator) for name in classes}
    probes = {name: Probe(16, torch.float32) for name in classes}

    def ablated() -> tuple:
        means = []
        with pytest.MonkeyPatch.context() as patch:
            test = scr_and_tpp.get_probe_test_accuracy
            patch.setattr(
                scr_and_tpp,
                "get_probe_test_accuracy",
                lambda probes, names, acts, *rest: (
                    means.append({name: bits(value) for name, value in acts.items()}),
                    test(probes, names, acts, *rest),
                )[1],
            )
            torch.manual_seed(0)
            found = scr_and_tpp.perform_feature_ablations(
                probes, sae, 4, acts, effects, [2, 5, 10], classes, 5, perform_scr
            )
        return found, means

    plain, own = ablated(), (sae.encode, sae.decode)
    with remembering(sae) as remembered:
        again = ablated()
    assert again == plain
    batches = 3 * len(acts)  # of 10 texts, 4 at a time
    assert remembered.computed == {"encode": batches, "decode": batches * (1 + len(classes) * 3)}
    assert (sae.encode, sae.decode) == own


def test_active_latents_are_counted_once_a_batch_and_not_where_saebench_has_masked(sae):
    """While the ablations run, however often they encode; before and after them nothing is counted."""
    generator, own = torch.Generator().manual_seed(0), sae.encode
    acts = {name: torch.randn(10, 6, 16, generator=generator) for name in ("one", "other")}
    acts["one"][:, 4:] = 0  # as SAEBench sets BOS, EOS and padding; a bias could activate latents there
    sae.b_enc += 0.5
    kept = [acts["one"][:, :4], acts["other"]]
    active = Active(sae)

    def ablations(probes, sae, classes):
        for _ in range(3):
            for x in acts.values():
                sae.decode(sae.encode(x))

    sae.encode(acts["one"])
    active.during(remembering_in(ablations))(None, sae, ["one", "other"])
    sae.encode(acts["other"])
    tokens = 10 * 4 + 10 * 6
    by_hand = sum((own(x) != 0).sum().item() for x in kept) / tokens
    assert (own(acts["one"][:, 4:]) != 0).any()
    assert active.result() == {"l0": pytest.approx(by_hand), "tokens": tokens}


def test_a_tensor_that_was_changed_is_encoded_anew(sae):
    remembered, plain = Remembered(sae), placeholder_sae(*SMALL)
    x = torch.randn(3, 4, 16)
    features = remembered.encode(x)
    x_hat = remembered.decode(features)
    assert bits(x_hat) == bits(plain.decode(plain.encode(x)))
    features[..., :32] = 0  # as SAEBench ablates
    assert bits(remembered.decode(features)) == bits(plain.decode(features))
    assert bits(remembered.encode(x)) == bits(plain.encode(x))
    assert remembered.computed["encode"] == 1
    x += 1
    assert bits(remembered.encode(x)) == bits(plain.encode(x))
    assert remembered.computed["encode"] == 2
    assert bits(remembered.decode(remembered.encode(x))) == bits(plain.decode(plain.encode(x)))


def test_another_tensor_at_the_same_address_is_another(sae):
    """They are told apart by their address, so one that was seen must live on: else the next may lie where it lay."""
    remembered = Remembered(sae)
    x = torch.randn(2, 3, 16)
    seen = weakref.ref(x)
    remembered.encode(x)
    del x
    gc.collect()
    assert seen() is not None


def test_what_it_gives_is_what_the_sae_gives_for_one_tensor_after_another(sae):
    remembered, plain = Remembered(sae), placeholder_sae(*SMALL)
    for seed in range(20):
        x = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(seed))
        assert bits(remembered.encode(x)) == bits(plain.encode(x))
        del x
