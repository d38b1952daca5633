"""The step of our own against dictionary_learning's: its numbers up to rounding, its choices, its state."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import COMPUTE, MATRYOSHKA, a_cell, folders, train_settings
from maskedsae.saes.settings import FAST_KINDS
from maskedsae.saes.steps.dense import DenseStep
from maskedsae.saes.steps.fast import steps_of
from maskedsae.saes.steps.one_by_one import OneByOne
from maskedsae.saes.steps.selection import LargestOfBatch, largest_of_each_row
from maskedsae.saes.steps.together import Together
from maskedsae.saes.trainers.base import known_kinds, load_state_dict, make_trainer, state_dict, trainer_kind
from maskedsae.saes.training import train_cells

WAYS = ("sparse", "dense")
BATCH, LATENTS = 64, 128
NONE, SOME, MANY = "none", "some", "more than half the width"
# How many tokens without firing make a latent dead, and l0, so that so many are.
DEAD_LATENTS = {NONE: (10**9, 4), SOME: (2 * BATCH, 4), MANY: (BATCH, 2)}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def trainer_of(kind: str, facts, dtype: torch.dtype = torch.float32, dead_after: int = 1000, l0: int = 4):
    settings = train_settings(kind, dict_size=LATENTS)
    settings.trainers[kind].settings["dead_after_tokens"] = dead_after
    trainer = make_trainer(settings.for_cell(kind, 0), l0, facts["gpt_neox"], "cpu")
    trainer.ae.to(dtype)
    trainer.ae.threshold = trainer.ae.threshold.float()
    return trainer


def batches(count: int, width: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Sparse sums of more directions than there are dimensions, with a mean and some noise."""
    generator = torch.Generator().manual_seed(0)
    random = {"generator": generator, "dtype": torch.float64}
    directions, mean = torch.randn(200, width, **random), torch.randn(width, **random)
    made = []
    for _ in range(count):
        active = (torch.rand(BATCH, 200, **random) < 0.03) * torch.rand(BATCH, 200, **random)
        rows = active @ directions + mean + 0.05 * torch.randn(BATCH, width, **random)
        made.append((rows / width**0.5).to(dtype))
    return made


def recorded_on_a_cpu(branches, state) -> Callable[[], torch.Tensor]:
    """Runs the branches again each time, as a graph does; at first it runs them and undoes it, as a recording does."""
    before = [each.clone() for each in state]
    for branch in branches:
        branch()
    for each, value in zip(state, before, strict=True):
        each.copy_(value)
    losses = torch.empty(len(branches), dtype=state[0].dtype)

    def replay() -> torch.Tensor:
        return losses.copy_(torch.stack([branch() for branch in branches]))

    return replay


def fast(way: str, trainers, kind: str, dtype: torch.dtype = torch.float32) -> OneByOne | Together:
    forms = [trainer_kind(kind).form] * len(trainers)
    if way == "sparse":
        return steps_of(trainers, forms, dtype, "cpu")
    return Together(
        [DenseStep(trainer, form, dtype) for trainer, form in zip(trainers, forms, strict=True)], recorded_on_a_cpu
    )


def furthest(one, other) -> float:
    pairs = zip(one.ae.parameters(), other.ae.parameters(), strict=True)
    return max((mine.double() - theirs.double()).abs().max().item() for mine, theirs in pairs)


def distance(one, other) -> float:
    """Of all weights, as a share of their size. (Single ones are further apart after the first steps: where a gradient
    is nothing but rounding, Adam makes a step of it.)"""
    mine, theirs = (torch.cat([each.detach().double().flatten() for each in t.ae.parameters()]) for t in (one, other))
    return ((mine - theirs).norm() / theirs.norm()).item()


def dead(trainer) -> int:
    return int((trainer.num_tokens_since_fired >= trainer.dead_feature_threshold).sum())


def in_float64(monkeypatch) -> None:
    """dictionary_learning computes parts of its losses in float32 whatever the weights are."""
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)


# Against dictionary_learning's update, step by step.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("many", DEAD_LATENTS)
@pytest.mark.parametrize("kind", FAST_KINDS)
def test_in_float64_it_is_dictionary_learnings_step(kind, many, way, facts, monkeypatch):
    stock, ours = (trainer_of(kind, facts, torch.float64, *DEAD_LATENTS[many]) for _ in range(2))
    steps, width, seen = fast(way, [ours], kind, torch.float64), stock.ae.activation_dim, []
    for number, x in enumerate(batches(100, width, torch.float64)):
        with monkeypatch.context() as patched:
            in_float64(patched)
            loss = stock.update(number, x.clone())
        steps(number, x.clone())
        assert steps.losses() == [[pytest.approx(loss, rel=1e-12)]]
        seen.append(dead(stock))
    assert furthest(stock, ours) < 1e-12
    assert torch.equal(stock.num_tokens_since_fired, ours.num_tokens_since_fired)
    assert ours.ae.threshold.dtype == torch.float32 and ours.ae.threshold > 0
    assert ours.ae.threshold.item() == pytest.approx(stock.ae.threshold.item(), rel=1e-6)
    assert ours.scheduler.state_dict() == stock.scheduler.state_dict()
    in_range = {
        NONE: max(seen) == 0,
        SOME: seen[0] == 0 and any(0 < count <= width // 2 for count in seen),
        MANY: max(seen) > width // 2,
    }
    assert in_range[many], seen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FAST_KINDS)
def test_in_float32_it_stays_with_it_until_a_choice_differs(kind, way, facts):
    """Rounding decides between two latents that are nearly equal; from there on the two are different trainings."""
    stock, ours = (trainer_of(kind, facts) for _ in range(2))
    steps, same = fast(way, [ours], kind), 0
    for number, x in enumerate(batches(100, stock.ae.activation_dim)):
        with torch.no_grad():
            chosen = [trainer.ae.encode(x, use_threshold=False) != 0 for trainer in (stock, ours)] if number else [x, x]
        if not torch.equal(*chosen):
            break
        loss = stock.update(number, x.clone())
        steps(number, x.clone())
        assert steps.losses() == [[pytest.approx(loss, rel=1e-6)]]
        assert distance(stock, ours) < 1e-6
        same = number
    assert same >= 20


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_bfloat16s_first_gradient_is_about_as_near_to_float32s_as_dictionary_learnings(kind, facts):
    """Adam's first moment is a tenth of it. As a reference, the same in float32."""
    trainers = [trainer_of(kind, facts) for _ in range(3)]
    x = batches(1, trainers[0].ae.activation_dim)[0]
    exact, stock, ours = trainers
    exact.update(1, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        stock.update(1, x.bfloat16())
    fast("dense", [ours], kind, torch.bfloat16)(1, x.bfloat16())
    for name, parameter in exact.ae.named_parameters():
        moments = [t.optimizer.state[dict(t.ae.named_parameters())[name]]["exp_avg"] for t in trainers]
        size = moments[0].norm()
        theirs, mine = ((moment - moments[0]).norm() / size for moment in moments[1:])
        assert 0 < mine < max(1.5 * theirs, 0.01) < 0.5, (name, mine, theirs, parameter.shape)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FAST_KINDS)
def test_it_goes_on_from_dictionary_learnings_state_and_hands_it_back(kind, way, facts, monkeypatch):
    in_float64(monkeypatch)
    rows = batches(60, 32, torch.float64)
    stock, ours = (trainer_of(kind, facts, torch.float64) for _ in range(2))
    for number in range(20):
        stock.update(number, rows[number].clone())
    load_state_dict(ours, trainer_kind(kind), deepcopy(state_dict(stock, trainer_kind(kind))))
    steps = fast(way, [ours], kind, torch.float64)
    for number in range(20, 40):
        stock.update(number, rows[number].clone())
        steps(number, rows[number].clone())
    back = trainer_of(kind, facts, torch.float64)
    load_state_dict(back, trainer_kind(kind), deepcopy(state_dict(ours, trainer_kind(kind))))
    for number in range(40, 60):
        stock.update(number, rows[number].clone())
        back.update(number, rows[number].clone())
    assert furthest(stock, back) < 1e-12
    assert torch.equal(stock.num_tokens_since_fired, back.num_tokens_since_fired)
    assert state_dict(ours, trainer_kind(kind)).keys() == state_dict(stock, trainer_kind(kind)).keys()


# Choices.


def chosen_by_torch(post: torch.Tensor, k: int) -> set[int]:
    top = post.flatten().topk(k * len(post), sorted=False)
    return set(top.indices[top.values > 0].tolist())


@pytest.mark.parametrize("seed", range(20))
def test_of_equal_latents_it_takes_those_that_topk_takes(seed):
    """Few different values, so that many are equal at the boundary; then few positive ones."""
    generator = torch.Generator().manual_seed(seed)
    largest = LargestOfBatch()
    for high in (40, 4, 40, 1):
        post = torch.randint(-high, high + 1, (32, 50), generator=generator).relu().float()
        assert set(largest(post, 5).tolist()) == chosen_by_torch(post, 5)
        rows = set(largest_of_each_row(post, 5).tolist())
        assert rows == {
            50 * row + latent for row, own in enumerate(post.topk(5, sorted=False).indices) for latent in own.tolist()
        }


def test_the_choice_does_not_depend_on_the_batches_before():
    generator = torch.Generator().manual_seed(0)
    posts = [scale * torch.randn(32, 50, generator=generator).relu() for scale in (1, 1.1, 5, 0.01, 0, 1)]
    used = LargestOfBatch()
    for post in posts:
        assert np.array_equal(used(post, 5), LargestOfBatch()(post, 5))
        assert set(used(post, 5).tolist()) == chosen_by_torch(post, 5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FAST_KINDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_and_infinity_show_in_the_loss(bad, kind, way, facts):
    trainer = trainer_of(kind, facts)
    steps = fast(way, [trainer], kind)
    rows = batches(3, trainer.ae.activation_dim)
    rows[2][17, 3] = bad
    for number, x in enumerate(rows):
        steps(number, x)
    losses = [row[0] for row in steps.losses()]
    assert all(np.isfinite(losses[:2])) and not np.isfinite(losses[2])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FAST_KINDS)
def test_a_batch_on_which_no_latent_is_active(kind, way, facts, monkeypatch):
    stock, ours = (trainer_of(kind, facts, torch.float64) for _ in range(2))
    rows, steps = batches(3, 32, torch.float64), fast(way, [ours], kind, torch.float64)
    in_float64(monkeypatch)
    for trainer in (stock, ours):
        trainer.ae.get_parameter(trainer_kind(kind).form.encoder_bias).data.fill_(-100)
    for number, x in enumerate(rows):
        loss = stock.update(number, x.clone())
        steps(number, x.clone())
        assert steps.losses() == [[pytest.approx(loss, rel=1e-12)]]
    assert furthest(stock, ours) < 1e-12
    assert torch.equal(stock.num_tokens_since_fired, ours.num_tokens_since_fired)


# The GPU's step, as far as a CPU shows it.


class NoWaits(TorchDispatchMode):
    """Fails where the host would have to wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero"), name
        # A mask as an index is turned into numbers, inside the operation.
        by_mask = name in ("index", "index_put_") and any(
            each.dtype == torch.bool for each in args[1] if each is not None
        )
        assert not by_mask, f"{name} by a mask"
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_the_host_waits_for_nothing_in_a_dense_step(kind, facts):
    trainers = [trainer_of(kind, facts, dead_after=BATCH, l0=l0) for l0 in (2, 4)]
    steps, rows = fast("dense", trainers, kind), batches(12, trainers[0].ae.activation_dim)
    steps(0, rows[0])  # the geometric median that the bias starts from is computed once, and does wait
    with NoWaits():
        for number, x in enumerate(rows[1:], 1):
            steps(number, x)
    assert len(steps.losses()) == 12
    assert dead(trainers[0]) > 0


@pytest.mark.parametrize(
    ("place", "bug"),
    [
        ("moved_threshold", lambda original: lambda trainer, smallest: original(trainer, smallest) * smallest.item()),
        ("revival", lambda original: lambda rebuilt, residual: rebuilt.isnan().any() or original(rebuilt, residual)),
        ("_smallest", lambda original: lambda values, dim: values[values > 0].min()),
    ],
)
def test_a_planted_wait_is_seen(place, bug, facts, monkeypatch):
    from maskedsae.saes.steps import dense

    monkeypatch.setattr(dense, place, bug(getattr(dense, place)))
    with pytest.raises(AssertionError, match=r"_local_scalar_dense|is_nonzero|by a mask"):
        test_the_host_waits_for_nothing_in_a_dense_step(MATRYOSHKA, facts)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", FAST_KINDS)
def test_a_dense_step_runs_without_contents(kind, precision, facts, monkeypatch):
    """On the device `meta` a tensor has a shape and no values: nothing can depend on them."""
    trainer = trainer_of(kind, facts)
    # torch knows what this does to a tensor without contents only where the rate is a number.
    library = torch.library.Library("aten", "IMPL", "Meta")
    library.impl("_fused_adam_.tensor_lr", lambda *given, **others: None)
    trainer.ae.to("meta")
    trainer.num_tokens_since_fired = trainer.num_tokens_since_fired.to("meta")
    monkeypatch.setattr(DenseStep, "look", lambda step: setattr(step, "_silent", 0))
    step = DenseStep(trainer, trainer_kind(kind).form, precision)
    for revive in (False, True):
        loss = step(torch.empty(BATCH, trainer.ae.activation_dim, dtype=precision, device="meta"), revive)
        assert loss.shape == () and loss.device.type == "meta"


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_the_auxiliary_loss_is_left_out_only_where_it_is_zero(kind, facts):
    """The host knows late which latents are dead. Both forms of the step give the same bits while none is."""
    rows = batches(40, 32)
    ended = []
    for revive in (False, True):
        trainer = trainer_of(kind, facts, dead_after=10**6)
        step = DenseStep(trainer, trainer_kind(kind).form, torch.float32)
        step.start(rows[0])
        for x in rows:
            step.prepare(len(x))
            step(x, revive)
        ended.append(trainer)
    assert furthest(*ended) == 0
    trainer = trainer_of(kind, facts, dead_after=10 * BATCH)
    step = DenseStep(trainer, trainer_kind(kind).form, torch.float32)
    for x in rows:
        revived = step.revives(len(x))
        step.prepare(len(x))
        step(x, revived)
        assert revived or dead(trainer) == 0


# In a job.


@pytest.fixture
def given(facts, tokens_folders):
    return facts["gpt_neox"], tokens_folders["gpt_neox"] / "manifest.json", COMPUTE


def ae(folder) -> bytes:
    return (folder / "sae" / "ae.pt").read_bytes()


@pytest.fixture(params=WAYS)
def as_on_its_device(request, monkeypatch):
    """The step of a CPU; and the GPU's, run on the CPU."""
    if request.param == "dense":

        def steps_of(trainers, forms, dtype, device):
            pairs = zip(trainers, forms, strict=True)
            return Together([DenseStep(trainer, form, dtype) for trainer, form in pairs], recorded_on_a_cpu)

        monkeypatch.setattr("maskedsae.saes.steps.fast.steps_of", steps_of)
    return request.param


def test_alone_equals_with_siblings(as_on_its_device, given, tmp_path):
    settings = train_settings(*FAST_KINDS, step="fast")
    cells = [a_cell(l0, kind, seed) for kind in FAST_KINDS for l0, seed in ((4, 0), (8, 0), (8, 1))]
    together = {cell: tmp_path / "together" / cell.name for cell in cells}
    train_cells(together, settings, *given)
    for cell in cells[::4]:
        alone = tmp_path / "alone" / cell.name
        train_cells({cell: alone}, train_settings(cell.trainer, step="fast"), *given)
        assert ae(alone) == ae(together[cell])


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_stopped_at_any_block_it_ends_with_the_same_bytes(kind, as_on_its_device, given, tmp_path, monkeypatch):
    """Dead latents appear in between: after 1,000 of 6,400 tokens."""
    facts, manifest, compute = given
    compute = replace(compute, checkpoint_minutes=0)
    settings = train_settings(kind, step="fast")
    train_cells(folders(tmp_path / "whole", 4, 8, trainer=kind), settings, facts, manifest, compute)
    from maskedsae.saes import training

    save_all = training.save_all
    for last in (1, 4, 5, 19):
        blocks = iter(range(100))

        def save_and_stop(*given, blocks=blocks, last=last):
            save_all(*given)
            if next(blocks) == last:
                raise KeyboardInterrupt

        monkeypatch.setattr(training, "save_all", save_and_stop)
        parts = folders(tmp_path / f"stopped_{last}", 4, 8, trainer=kind)
        with pytest.raises(KeyboardInterrupt):
            train_cells(parts, settings, facts, manifest, compute)
        monkeypatch.setattr(training, "save_all", save_all)
        train_cells(parts, settings, facts, manifest, compute)
        for l0 in (4, 8):
            assert ae(tmp_path / f"stopped_{last}" / f"l0_{l0}") == ae(tmp_path / "whole" / f"l0_{l0}"), last
    rows = (tmp_path / "whole" / "l0_4" / "training.csv").read_text().splitlines()
    counts = [float(row.split(",")[6]) for row in rows[1:]]
    assert counts[0] == 0 < max(counts)


def test_one_that_diverges_is_found_out_and_the_others_go_on(as_on_its_device, given, tmp_path, monkeypatch):
    """On a GPU losses are looked at every `log_every` steps, and before each checkpoint."""
    from maskedsae.saes import team

    learn = team.Team.learn

    def spoil(self, number, x):
        if number == 33:
            next(one for one in self.learners if one.cell.l0 == 4).trainer.ae.b_enc.data.fill_(torch.nan)
        learn(self, number, x)

    monkeypatch.setattr(team.Team, "learn", spoil)
    with pytest.raises(Exception, match=r"l0_4 \(at step 33\): training diverged; the job's other SAEs \(1\)"):
        train_cells(folders(tmp_path, 4, 8), train_settings(step="fast"), *given)
    monkeypatch.setattr(team.Team, "learn", learn)
    train_cells(folders(tmp_path / "alone", 8), train_settings(step="fast"), *given)
    assert ae(tmp_path / "l0_8") == ae(tmp_path / "alone" / "l0_8")


def test_a_trainer_without_a_step_of_our_own_keeps_its_own_and_says_so(given, tmp_path, caplog):
    others = set(known_kinds()) - set(FAST_KINDS)
    assert {kind for kind in known_kinds() if trainer_kind(kind).form is None} == others > {"jumprelu"}
    with caplog.at_level("INFO"):
        train_cells(folders(tmp_path / "fast", 8, trainer="jumprelu"), train_settings("jumprelu", step="fast"), *given)
    assert "jumprelu takes its class's own steps, since it has no others" in caplog.text
    train_cells(folders(tmp_path / "stock", 8, trainer="jumprelu"), train_settings("jumprelu"), *given)
    assert ae(tmp_path / "fast" / "l0_8") == ae(tmp_path / "stock" / "l0_8")


def test_the_step_is_part_of_an_saes_identity(given, tmp_path, caplog):
    train_cells(folders(tmp_path, 8), train_settings(), *given)
    with caplog.at_level("INFO"):
        train_cells(folders(tmp_path, 8), train_settings(step="fast"), *given)
    assert "made with other settings (training.step)" in caplog.text
