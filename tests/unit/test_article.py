"""The article's two systems: what its formulas say, and what they come to."""

import pytest
import torch
from dictionary_learning import AutoEncoder
from torch.nn.functional import cosine_similarity

from maskedsae.saes.trainers.adaptive_gate import AdaptiveGateTrainer, GatedByScale, folded
from maskedsae.saes.trainers.masked_penalty import MaskedPenaltyTrainer

WIDTH, LATENTS = 16, 48
SILENT = slice(0, 8)
OWN = {
    MaskedPenaltyTrainer: {"norm_penalty": 5e-4, "dormant_below": 1e-4, "mask_every": 500},
    AdaptiveGateTrainer: {"entropy_penalty": 1e-4},
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def trainer_of(made, silent: bool = False, **changes):
    """`silent`: the first latents never fire, and are masked."""
    given = {"steps": 2000, "activation_dim": WIDTH, "dict_size": LATENTS, "layer": 1, "lm_name": "it", "seed": 0}
    given |= {"device": "cpu", "lr": 3e-3, "warmup_steps": 0, "l1_penalty": 1e-3}
    trainer = made(**given | OWN[made] | changes)
    if silent:
        trainer.ae.encoder.bias.data[SILENT] = -100
        trainer.mask[SILENT] = True
    return trainer


def rows(count: int, size: float = 1.0) -> torch.Tensor:
    """Batches of 32."""
    return size * torch.randn(count, 32, WIDTH, generator=torch.Generator().manual_seed(1))


def directions(trainer) -> torch.Tensor:
    weights = trainer.ae.decoder.weight.detach().T
    return weights / weights.norm(dim=1, keepdim=True)


# The formulas, in float64.


def test_the_masked_loss_is_the_articles_formula():
    trainer, x = trainer_of(MaskedPenaltyTrainer, silent=True, norm_penalty=0.3, dormant_below=0.02), rows(1)[0]
    trainer.mask[10:20] = True
    weights = {name: value.double() for name, value in trainer.ae.state_dict().items()}
    wide, directions = x.double(), weights["decoder.weight"].T
    z = ((wide - weights["bias"]) @ weights["encoder.weight"].T + weights["encoder.bias"]).clamp(min=0)
    x_hat = z @ directions + weights["bias"]
    each = ((wide - x_hat) ** 2).sum(1) + 1e-3 * z.sum(1)
    each += 0.3 * (trainer.mask * (z < 0.02) * (directions**2).sum(1)).sum(1)
    assert trainer.loss(x, 0).item() == pytest.approx(each.mean().item(), rel=1e-6)
    assert not torch.equal(z[:, 10:20] < 0.02, torch.ones(32, 10, dtype=torch.bool))  # so that the indicator matters


def test_the_gated_loss_is_the_articles_formula():
    trainer, x = trainer_of(AdaptiveGateTrainer, entropy_penalty=0.3), rows(1)[0]
    trainer.ae.gate_logits.data = torch.linspace(-6, 6, LATENTS)
    weights = {name: value.double() for name, value in trainer.ae.state_dict().items()}
    gates, wide = 1 / (1 + (-weights["gate_logits"]).exp()), x.double()
    before = (wide - weights["bias"]) @ weights["encoder.weight"].T + weights["encoder.bias"]
    z = (gates * before).clamp(min=0)
    x_hat = z @ weights["decoder.weight"].T + weights["bias"]
    entropy = -(gates * gates.log() + (1 - gates) * (1 - gates).log()).mean()
    expected = ((wide - x_hat) ** 2).sum(1).mean() + 1e-3 * z.sum(1).mean() + 0.3 * entropy
    assert trainer.loss(x, 0).item() == pytest.approx(expected.item(), rel=1e-6)


def test_gates_begin_at_2():
    assert (trainer_of(AdaptiveGateTrainer).ae.gate_logits == 2).all()


@pytest.mark.parametrize("made", OWN)
def test_a_step_clips_the_gradient_and_gives_decoder_directions_norm_1(made):
    trainer = trainer_of(made)
    trainer.update(0, rows(1, size=100)[0])
    norms = torch.stack([parameter.grad.norm() for parameter in trainer.ae.parameters()])
    assert norms.norm().item() == pytest.approx(1, rel=1e-4)
    assert torch.allclose(trainer.ae.decoder.weight.norm(dim=0), torch.ones(LATENTS), atol=1e-6)


def test_a_latent_is_masked_by_its_running_mean_as_of_the_last_renewal():
    trainer = trainer_of(MaskedPenaltyTrainer, dormant_below=0.7, mask_every=10)
    mean, masks = torch.ones(LATENTS), []
    for step, x in enumerate(rows(60)):
        with torch.no_grad():
            z = trainer.ae.encode(x)
        expected = mean < 0.7 if step % 10 == 0 else masks[-1]
        trainer.update(step, x)
        masks.append(trainer.mask)
        assert torch.equal(trainer.mask, expected)
        mean = 0.99 * mean + 0.01 * z.mean(0)
        torch.testing.assert_close(trainer.running_mean, mean)
    assert 0 < masks[-1].sum() < LATENTS


def test_no_latent_is_masked_before_step_917():
    """Even one that never fires: the running mean starts at 1, and 0.99^917 is the first power below 1e-4."""
    trainer = trainer_of(MaskedPenaltyTrainer, mask_every=1)
    trainer.ae.encoder.bias.data[SILENT] = -100
    first = next(step for step, x in enumerate(rows(930)) if trainer.update(step, x) or trainer.mask.any())
    assert first == 917


# What the penalty on decoder norms does, when these are set to 1 after each step.


def test_the_penaltys_gradient_is_along_the_masked_directions_and_nowhere_else():
    trainer = trainer_of(MaskedPenaltyTrainer, silent=True)
    with torch.no_grad():
        z = trainer.ae.encode(rows(1)[0])
    trainer.term(z, 0).backward()
    gradient, weights = trainer.ae.decoder.weight.grad, trainer.ae.decoder.weight.detach()
    torch.testing.assert_close(gradient[:, SILENT], 2 * 5e-4 * weights[:, SILENT])
    assert not gradient[:, SILENT.stop :].any()
    assert all(parameter.grad is None for name, parameter in trainer.ae.named_parameters() if name != "decoder.weight")


@pytest.fixture
def unclipped(monkeypatch):
    """Where gradients are clipped, the penalty's scales down all others as well."""
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda parameters, most: None)


def turned(optimiser, norm_penalty: float):
    """A trainer after 100 steps, and how far the silent latents' directions have turned (as a cosine)."""
    trainer = trainer_of(MaskedPenaltyTrainer, silent=True, norm_penalty=norm_penalty)
    trainer.optimizer = optimiser(trainer.ae.parameters(), lr=3e-3)
    trainer.scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, lambda step: 1)
    before = directions(trainer)
    for step, x in enumerate(rows(100), 1):
        trainer.update(step, x)
    return trainer, cosine_similarity(directions(trainer), before)[SILENT]


def test_under_plain_gradient_descent_the_penalty_does_nothing(unclipped):
    trainer, cosines = turned(torch.optim.SGD, 5e-4)
    assert torch.allclose(cosines, torch.ones(8), atol=1e-6)
    without, _ = turned(torch.optim.SGD, 0)
    for name, value in without.ae.state_dict().items():
        torch.testing.assert_close(trainer.ae.state_dict()[name], value, rtol=0, atol=1e-5)  # rounding, 100 times


def test_under_adam_it_turns_directions_of_silent_latents_towards_the_axes_and_touches_nothing_else(unclipped):
    """Adam divides by the gradient's size, so each coordinate shrinks at the same rate, whatever the weight; scaled
    back to norm 1, small coordinates are gone and large ones remain. No latent fires for it, and no error changes."""
    without, unturned = turned(torch.optim.Adam, 0)
    assert torch.allclose(unturned, torch.ones(8), atol=1e-6)
    found = {}
    for norm_penalty in (5e-4, 5e-2):
        trainer, cosines = turned(torch.optim.Adam, norm_penalty)
        for name, value in without.ae.state_dict().items():
            others = [trainer.ae.state_dict()[name], value]
            if name == "decoder.weight":
                others = [weights[:, SILENT.stop :] for weights in others]
            assert torch.equal(*others), name
        largest = directions(trainer)[SILENT].abs().max(1).values
        assert (largest > directions(without)[SILENT].abs().max(1).values).all()
        found[norm_penalty] = cosines
    assert found[5e-4].mean() < 0.95
    torch.testing.assert_close(found[5e-4], found[5e-2], rtol=0.02, atol=0)


# What the gates do.


def test_gates_fold_into_an_autoencoder():
    made = GatedByScale(WIDTH, LATENTS)
    made.gate_logits.data = torch.linspace(-8, 8, LATENTS)
    made.encoder.bias.data = torch.randn(LATENTS, generator=torch.Generator().manual_seed(2))
    plain, x = AutoEncoder(WIDTH, LATENTS), rows(1)[0]
    plain.load_state_dict(folded(made.state_dict()))
    assert torch.equal(plain.encode(x) != 0, made.encode(x) != 0)
    torch.testing.assert_close(plain(x), made(x), rtol=1e-5, atol=1e-6)


def test_no_gate_closes():
    """The latents that fire are those that would fire without gates."""
    made, x = GatedByScale(WIDTH, LATENTS), rows(1)[0]
    made.gate_logits.data.fill_(-20)
    assert torch.equal(made.encode(x) > 0, AutoEncoder.encode(made, x) > 0) and (made.encode(x) > 0).any()


def test_gates_add_a_hundredth_of_a_percent_of_parameters():
    """At the article's size, 32,768 latents of 4,096 dimensions, for which it says 5 to 8%."""
    with torch.device("meta"):
        made = GatedByScale(4096, 32768)
    others = sum(parameter.numel() for name, parameter in made.named_parameters() if name != "gate_logits")
    assert made.gate_logits.numel() / others == pytest.approx(0.000122, rel=0.01)
