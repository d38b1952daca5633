"""The loop against dictionary_learning's own, and against itself: alone or with siblings."""

import csv
import json
import math
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dictionary_learning.training import get_norm_factor, trainSAE

from conftest import BY_PENALTY, COMPUTE, MATRYOSHKA, a_cell, folders, token_settings, train_settings
from maskedsae.activations.language_models import LanguageModel, tokenizer_of
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.leases import Lease, LeaseLost
from maskedsae.jobs.typed import plain
from maskedsae.saes import learner as learners
from maskedsae.saes import training
from maskedsae.saes.sources import make_stream
from maskedsae.saes.team import Team
from maskedsae.saes.trainers.base import known_kinds, make_trainer, trainer_arguments, trainer_kind
from maskedsae.saes.training import norm_factor, train_cells
from maskedsae.saes.watching import Watch
from maskedsae.text.packing import write_tokens
from maskedsae.text.tokens import Tokens

PUBLISHED = ("ae.pt", "sae_weights.safetensors", "SHA256SUMS", "quality.json", "config.json", "cfg.json")


def stream_of(settings, facts, folder):
    model, tokens = LanguageModel(facts, settings.model.dtype, "cpu"), Tokens.open(folder)
    return make_stream(model, tokens, settings.stream, settings.stream_seed, settings.model, settings.training)


def weights(folder):
    return torch.load(folder / "sae" / "ae.pt", weights_only=True)


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]), name


@pytest.fixture
def given(facts, tokens_folders):
    """What every training here is given beside its settings."""
    return facts["gpt_neox"], tokens_folders["gpt_neox"] / "manifest.json", COMPUTE


# Against trainSAE.


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["gpt_neox", "gemma2"])
@pytest.mark.parametrize("kind", known_kinds())
def test_equals_train_sae_bit_for_bit(kind, family, precision, facts, tokens_folders, tmp_path, monkeypatch):
    """trainSAE runs on the stream as it is: 101 batches of it for the norm, then the training.

    bfloat16 is what a GPU runs. On a CPU trainSAE leaves autocast out, and then fails: given it, it is the same code.
    """
    torch.set_num_threads(1)
    settings = train_settings(kind, tokens=64 * 110, norm_batches=101, autocast=precision)
    if precision == "bfloat16":
        settings = replace(settings, model=replace(settings.model, dtype="bfloat16"))
        monkeypatch.setattr("maskedsae.saes.training.check_device", lambda device, autocast: None)
        monkeypatch.setattr(
            "dictionary_learning.training.nullcontext", lambda: torch.autocast("cpu", dtype=torch.bfloat16)
        )
    stream = stream_of(settings, facts[family], tokens_folders[family])
    arguments = trainer_arguments(settings.for_cell(kind, 0), 8, facts[family], "cpu")
    torch.manual_seed(0)
    # The class, as trainSAE makes it; `dead_after_tokens` is a constant in it, which the class attribute cannot set.
    trainer_class = with_dead_after(trainer_kind(kind).make, settings.trainers[kind].settings["dead_after_tokens"])
    trainSAE(
        data=stream,
        trainer_configs=[arguments | {"trainer": trainer_class}],
        steps=110,
        normalize_activations=True,
        save_dir=str(tmp_path / "stock"),
        device="cpu",
        autocast_dtype=getattr(torch, precision),
    )
    manifest = tokens_folders[family] / "manifest.json"
    train_cells(folders(tmp_path / "ours", 8, trainer=kind), settings, facts[family], manifest, COMPUTE)
    stock = torch.load(tmp_path / "stock" / "trainer_0" / "ae.pt", weights_only=True)
    assert_same(weights(tmp_path / "ours" / "l0_8"), trainer_kind(kind).as_saved(stock))


def with_dead_after(trainer_class, tokens):
    def make(**arguments):
        made = trainer_class(**arguments)
        made.dead_feature_threshold = tokens
        return made

    return make


def test_what_the_trainer_is_given_is_what_the_configuration_says(facts):
    """In literal numbers: 100 steps, of which the last 20 decay."""
    settings = train_settings().for_cell(MATRYOSHKA, 3)
    assert trainer_arguments(settings, 8, facts["gpt_neox"], "cpu") == {
        "lr": 3e-3,
        "warmup_steps": 10,
        "auxk_alpha": 0.03125,
        "threshold_beta": 0.9,
        "threshold_start_step": 10,
        "group_fractions": [0.25, 0.25, 0.5],
        "k": 8,
        "dict_size": 64,
        "decay_start": 80,
        "steps": 100,
        "activation_dim": 32,
        "layer": 1,
        "lm_name": "tiny-gpt_neox",
        "seed": 3,
        "device": "cpu",
    }


def test_norm_factor_is_train_saes(facts, tokens_folders):
    stream = stream_of(train_settings(), facts["gpt_neox"], tokens_folders["gpt_neox"])
    assert norm_factor(stream, 101) == get_norm_factor(stream, steps=100)


# Against itself: a cell is what it is alone, whatever it is trained with.


def assert_same_files(one: Path, other: Path) -> None:
    assert_same(weights(one), weights(other))
    for name in PUBLISHED:
        assert (one / "sae" / name).read_bytes() == (other / "sae" / name).read_bytes(), name


@pytest.mark.parametrize("kind", known_kinds())
def test_alone_equals_with_other_l0s(kind, given, tmp_path):
    settings = train_settings(kind)
    together = folders(tmp_path / "together", 4, 8, 16, trainer=kind)
    train_cells(together, settings, *given)
    for cell, folder in together.items():
        alone = tmp_path / "alone" / f"l0_{cell.l0}"
        train_cells({cell: alone}, settings, *given)
        assert_same_files(alone, folder)


def test_alone_equals_with_other_trainers_and_seeds_of_the_stream(given, tmp_path):
    """Seed 1 reads the stream of seed 0: same masks and order, other initial weights."""
    settings = train_settings(MATRYOSHKA, "topk")
    cells = [a_cell(8, trainer, seed) for trainer in (MATRYOSHKA, "topk") for seed in (0, 1)]
    together = {cell: tmp_path / "together" / cell.name for cell in cells}
    train_cells(together, settings, *given)
    for cell in cells:
        alone = tmp_path / "alone" / cell.name
        train_cells({cell: alone}, train_settings(cell.trainer), *given)
        assert_same_files(alone, together[cell])
    encoders = [
        weights(folder)["W_enc" if cell.trainer == MATRYOSHKA else "encoder.weight"]
        for cell, folder in together.items()
    ]
    assert not torch.equal(encoders[0], encoders[1])
    own = replace(settings, stream_seed=1)  # as with seeds_per_stream: 1
    train_cells({cells[1]: tmp_path / "own"}, own, *given)
    assert not torch.equal(weights(tmp_path / "own")["W_enc"], encoders[1])


def test_logging_does_not_change_training(given, tmp_path):
    facts, manifest, compute = given
    for log_every in (1, 1000):
        to = folders(tmp_path / f"every_{log_every}", 8)
        train_cells(to, train_settings(), facts, manifest, replace(compute, log_every=log_every))
    assert_same(*(weights(tmp_path / f"every_{log_every}" / "l0_8") for log_every in (1, 1000)))


@pytest.mark.parametrize("kind", known_kinds())
def test_interrupted_or_written_again_it_has_the_same_files(kind, cells, given, tmp_path, monkeypatch):
    """All that a step depends on is in the checkpoint: also a penalty's weight that training changes."""
    facts, manifest, compute = given
    record = learners.Learner.record_losses

    def stop(learner, losses):
        record(learner, losses)
        if learner.step == 68:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(learners.Learner, "record_losses", stop)
        every_block = replace(compute, checkpoint_minutes=0)
        train_cells({a_cell(8, kind): tmp_path}, train_settings(kind), facts, manifest, every_block)
    for _ in range(2):
        train_cells({a_cell(8, kind): tmp_path}, train_settings(kind), *given)
        assert_same_files(tmp_path, cells[kind])
        shutil.rmtree(tmp_path / "sae")


# What training.csv says.


def test_a_row_of_training_csv_is_what_the_plain_formulas_give(given, tmp_path, monkeypatch):
    """Of the step before the last: its rows, seen by the SAE as it then was, by textbook formulas in float64."""
    seen, means, losses = {}, [], []
    measure, record = learners.Learner.measure, learners.Learner.record_losses

    def spy(learner, x, autocast):
        if learner.step <= 90:
            means.append(learner.trainer.ae.encode(x, use_threshold=False).double().mean(0))
        if learner.step == 90:
            seen["norms"] = learner.trainer.ae.W_dec.double().norm(dim=1)
            trainer = learner.trainer
            features = trainer.ae.encode(x, use_threshold=False).double()
            seen.update(x=x.double(), x_hat=trainer.ae.decode(features.float()).double(), features=features)
            seen["dead"] = int((trainer.num_tokens_since_fired >= 1000).sum())
        return measure(learner, x, autocast)

    monkeypatch.setattr(learners.Learner, "measure", spy)
    monkeypatch.setattr(
        *(learners.Learner, "record_losses"),
        lambda learner, found: losses.extend(found) or record(learner, found),
    )
    train_cells(folders(tmp_path, 8), train_settings(), *given)
    rows = {int(row["step"]): row for row in csv.DictReader((tmp_path / "l0_8" / "training.csv").open())}
    assert list(rows) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99]
    row = {name: float(value) for name, value in rows[90].items() if value}
    x, x_hat = seen["x"], seen["x_hat"]
    squares = ((x - x_hat) ** 2).sum().item()
    assert row["tokens"] == 91 * 64
    assert row["l0"] == pytest.approx((seen["features"] != 0).sum().item() / 64)
    assert row["mse"] == pytest.approx(squares / x.numel(), rel=1e-4)
    mean = x.sum(0) / len(x)
    assert row["explained_variance"] == pytest.approx(1 - squares / ((x - mean) ** 2).sum().item(), rel=1e-4)
    assert row["dead_latents"] == seen["dead"]
    # The rate of step 90, ten steps into a decay over 20; it was set at the end of step 89.
    assert row["lr"] == pytest.approx(3e-3 * 10 / 20)
    assert row["threshold"] == pytest.approx(float(rows[99]["threshold"]), rel=0.5) and row["threshold"] > 0
    assert row["seconds"] <= float(rows[99]["seconds"])
    # What the audit reads.
    weights_of_rows = [0.99**age for age in range(len(means))]
    running = sum(w * mean for w, mean in zip(weights_of_rows, reversed(means), strict=True)) / sum(weights_of_rows)
    for level in ("5e-05", "1e-04"):
        assert row[f"dormant_{level}"] == (running < float(level)).sum()
    assert row["least_decoder_norm"] == pytest.approx(seen["norms"].min().item())
    assert len(losses) == 100 and row["loss"] == losses[90]
    assert row["loss_variance"] == pytest.approx(torch.tensor(losses[:91]).double().var(correction=0).item(), rel=1e-6)
    assert rows[90]["l1"] == rows[90]["masked_latents"] == ""  # Matryoshka has neither


def test_the_variance_of_the_loss_is_over_its_last_500_steps():
    watch, losses = Watch(), [float(step % 7) ** 2 for step in range(1234)]
    watch.losses.extend(losses)
    assert watch.loss_variance == pytest.approx(torch.tensor(losses[-500:]).double().var(correction=0).item())
    again = Watch()
    again.load_state(watch.state(), "cpu")
    again.losses.append(1.0)
    assert again.loss_variance == pytest.approx(torch.tensor([*losses[-499:], 1.0]).double().var(correction=0).item())


@pytest.mark.parametrize("kind", BY_PENALTY)
def test_what_a_class_does_not_count_is_counted(kind, facts, tmp_path):
    """Tokens since each latent fired, in training alone; and the loss, which `update` does not return."""
    settings = train_settings(kind).for_cell(kind, 0)
    trainer = make_trainer(settings, 8, facts["gpt_neox"], "cpu")
    learner = learners.Learner(a_cell(8, kind), tmp_path, trainer, kind, plain(settings), Lease(tmp_path))
    since, team = torch.zeros(64, dtype=torch.long), Team([learner], torch.float32, "cpu")
    (trainer.ae.gate_bias if kind == "gated" else trainer.ae.encoder.bias).data[:3] = -10  # so that these never fire
    for step, x in enumerate(torch.randn(40, 16, 32, generator=torch.Generator().manual_seed(0))):
        with torch.no_grad():
            since = torch.where((trainer.ae.encode(x) != 0).any(0), 0, since + 16)
            loss = type(trainer).loss(trainer, x, 0).item() if step == 0 else None
        measured = dict(zip(learners.COLUMNS[3:-3], learner.measure(100 * x, nullcontext()), strict=True))
        assert measured["threshold"] is None
        team.learn(step, x)
        team.settle()
        assert loss in (None, learner.loss)
        assert torch.equal(trainer.num_tokens_since_fired, since)
    assert (since[:3] == 40 * 16).all() and (since[3:] == 0).any()


# Divergence.


def diverging(monkeypatch, l0: int, step: int):
    """The loss of this l0 is infinite at this step; how many steps were computed from then on."""
    kind = trainer_kind(MATRYOSHKA).make
    original, counted = kind.update, []

    def update(trainer, number, x):
        loss = original(trainer, number, x)
        counted.append(trainer.k)
        return math.inf if trainer.k == l0 and number == step else loss

    monkeypatch.setattr(kind, "update", update)
    return counted


def test_one_that_diverges_does_not_take_its_siblings_along(given, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        diverging(patched, 4, 30)
        with pytest.raises(InputError) as error:
            train_cells(folders(tmp_path, 4, 8), train_settings(), *given)
    message = str(error.value)
    assert "l0_4 (at step 30): training diverged; the job's other SAEs (1) are written" in message
    assert "by an entry of its own with a lower lr (kind: matryoshka_batch_topk)" in message and "\n" not in message
    assert not (tmp_path / "l0_4" / "sae").exists()
    train_cells(folders(tmp_path / "alone", 8), train_settings(), *given)
    assert_same_files(tmp_path / "l0_8", tmp_path / "alone" / "l0_8")


def test_another_attempt_does_not_find_out_at_the_same_price(given, tmp_path, monkeypatch):
    """As Slurm retries: what diverged has diverged, and what is finished is only written again."""
    counted = diverging(monkeypatch, 4, 30)
    for _ in range(2):
        with pytest.raises(InputError, match=r"l0_4 \(at step 30\): training diverged"):
            train_cells(folders(tmp_path, 4, 8), train_settings(), *given)
    assert (counted.count(4), counted.count(8)) == (31, 100)
    assert (tmp_path / "l0_8" / "sae" / "ae.pt").exists()


def test_if_all_diverge_it_ends_there(given, tmp_path, monkeypatch):
    counted = diverging(monkeypatch, 4, 30)
    with pytest.raises(InputError, match=r"training diverged\. Take it out of the grid"):
        train_cells(folders(tmp_path, 4), train_settings(), *given)
    assert len(counted) == 31


# What a finished SAE keeps.


def provenance(folder: Path) -> dict:
    return json.loads((folder / "sae" / "provenance.json").read_text())


def test_a_finished_sae_keeps_its_record_when_its_job_is_regrouped(given, tmp_path):
    train_cells(folders(tmp_path, 8), train_settings(), *given)
    before = provenance(tmp_path / "l0_8")
    train_cells(folders(tmp_path, 4, 8, 16), train_settings(), *given)
    after, siblings = provenance(tmp_path / "l0_8"), provenance(tmp_path / "l0_4")
    for key in ("wall_seconds", "norm_factor", "trained_with", "runs", "steps"):
        assert after[key] == before[key], key
    assert after["trained_with"] == [a_cell(8).name]
    assert siblings["trained_with"] == [a_cell(l0).name for l0 in (4, 16)]


def test_another_text_is_another_sae(facts, corpus_file, given, tmp_path):
    """Even where every setting is the same: a checkpoint knows its text."""
    known, _, compute = given
    texts = corpus_file.read_text().splitlines()
    for name, lines in (("one", texts), ("other", texts[::-1])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        write_tokens(tmp_path / name, tokenizer_of(known), token_settings(tmp_path / f"{name}.jsonl"), known.bos)
    manifests = [tmp_path / name / "manifest.json" for name in ("one", "other")]
    train_cells(folders(tmp_path, 8), train_settings(), known, manifests[0], compute)
    before = weights(tmp_path / "l0_8")
    train_cells(folders(tmp_path, 8), train_settings(), known, manifests[1], compute)
    assert not torch.equal(weights(tmp_path / "l0_8")["W_enc"], before["W_enc"])
    assert list((tmp_path / "l0_8" / "checkpoint").glob("state_of_other_settings_*"))
    train_cells(folders(tmp_path / "again", 8), train_settings(), known, manifests[1], compute)
    assert_same(weights(tmp_path / "l0_8"), weights(tmp_path / "again" / "l0_8"))


def test_a_longer_text_with_the_same_beginning_trains_nothing_again(facts, corpus_file, given, tmp_path, monkeypatch):
    """As when a stream is added that drops rows, and so reads further."""
    known, manifest, compute = given
    train_cells(folders(tmp_path, 8), train_settings(), known, manifest, compute)
    before = weights(tmp_path / "l0_8")
    longer = token_settings(corpus_file, train_contexts=500)
    write_tokens(tmp_path / "tokens", tokenizer_of(known), longer, known.bos, shard_contexts=64)
    counted = diverging(monkeypatch, 0, 0)
    train_cells(folders(tmp_path, 8), train_settings(), known, tmp_path / "tokens" / "manifest.json", compute)
    assert counted == []
    assert_same(weights(tmp_path / "l0_8"), before)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"stream": {"name": "mask30", "p": 0.2}}, {"lr": 1e-3}, {"code": "new"}]
)
def test_a_checkpoint_of_other_settings_is_set_aside(change, given, tmp_path, caplog):
    train_cells(folders(tmp_path, 8), train_settings(), *given)
    before = weights(tmp_path / "l0_8")
    settings, cells = train_settings(stream=change.get("stream", {"name": "mask30", "p": 0.3})), folders(tmp_path, 8)
    if "seed" in change:
        cells = {a_cell(8, seed=1): tmp_path / "l0_8"}
    if "lr" in change:
        settings.trainers[MATRYOSHKA].settings["lr"] = change["lr"]
    if "code" in change:
        settings.code[MATRYOSHKA]["saes.training"] = change["code"]
    with caplog.at_level("INFO"):
        train_cells(cells, settings, *given)
    assert "its checkpoint was made with other settings" in caplog.text
    assert torch.equal(weights(tmp_path / "l0_8")["W_enc"], before["W_enc"]) == ("code" in change)


def test_changed_code_that_only_writes_trains_nothing_again(given, tmp_path, monkeypatch):
    settings = train_settings()
    settings.code[MATRYOSHKA].update({"saes.quality": "old", "saes.formats": "old", "saes.publishing": "old"})
    train_cells(folders(tmp_path, 8), settings, *given)
    counted = diverging(monkeypatch, 0, 0)
    settings.code[MATRYOSHKA].update({"saes.quality": "new", "saes.formats": "new", "saes.publishing": "new"})
    train_cells(folders(tmp_path, 8), settings, *given)
    assert counted == []


def test_what_is_on_the_disk_is_not_asked_of_it_again(given, tmp_path, monkeypatch):
    train_cells(folders(tmp_path, 8), train_settings(), *given)
    asked = []
    monkeypatch.setattr(training, "require_space", lambda folder, size, what: asked.append(size))
    train_cells(folders(tmp_path, 8), train_settings(), *given)
    train_cells(folders(tmp_path / "new", 8), train_settings(), *given)
    assert asked[0] == 0 < asked[1]


# Leases.


def another_takes_over(folder: Path) -> None:
    (folder / "checkpoint" / "lease.json").write_text(json.dumps({"token": "another", "host": "elsewhere"}))


@pytest.mark.parametrize("moment", ["old checkpoint", "start of the log", "log", "checkpoint", "the files", "quality"])
def test_a_cell_that_another_has_taken_over_is_not_written(moment, given, tmp_path, monkeypatch):
    """Its lease is replaced right before each kind of write: nothing is written after that."""
    facts, manifest, compute = given
    folder, state = tmp_path / "l0_8", {}
    if moment == "old checkpoint":  # of other settings, so that it is set aside
        train_cells({a_cell(8): folder}, train_settings(stream={"name": "mask30", "p": 0.2}), facts, manifest, compute)

    def taking_over(original):
        def replaced(*arguments, **more):
            if not state and ready(arguments):
                another_takes_over(folder)
                state.update(snapshot(folder))
            return original(*arguments, **more)

        return replaced

    def ready(arguments) -> bool:
        return moment != "log" or arguments[0].step == 50

    place, name = {
        "old checkpoint": (learners.checkpoints, "load"),
        "start of the log": (training, "require_space"),
        "log": (learners.Learner, "record_losses"),
        "checkpoint": (training, "save_all"),
        "the files": (learners.Learner, "finish"),
        "quality": (training.publishing.quality, "measure"),
    }[moment]
    monkeypatch.setattr(place, name, taking_over(getattr(place, name)))
    compute = replace(compute, checkpoint_minutes=0) if moment == "checkpoint" else compute
    with pytest.raises(LeaseLost, match="another process took over"):
        train_cells({a_cell(8): folder}, train_settings(), facts, manifest, compute)
    assert state and snapshot(folder) == state


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
