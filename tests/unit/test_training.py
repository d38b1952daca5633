"""The loop against dictionary_learning's own, and against itself: alone or with siblings."""

import copy

import pytest
import torch
from dictionary_learning.training import get_norm_factor, trainSAE

from conftest import COMPUTE, train_settings
from maskedsae.activations.language_models import LanguageModel
from maskedsae.jobs.errors import InputError
from maskedsae.saes.trainers import TRAINERS, trainer_arguments
from maskedsae.saes.training import make_stream, norm_factor, train_set
from maskedsae.text.tokens import Tokens


def stream_of(settings, facts, folder):
    model = LanguageModel(facts, settings["model"]["dtype"], "cpu")
    return make_stream(model, Tokens.open(folder), settings, facts)


def weights(folder):
    return torch.load(folder / "sae" / "ae.pt", weights_only=True)


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["gpt_neox", "gemma2"])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_equals_train_sae_bit_for_bit(trainer, family, precision, facts, tokens_folders, tmp_path, monkeypatch):
    """trainSAE runs on the stream as it is: 101 batches of it for the norm, then the training.

    bfloat16 is what a GPU runs. On a CPU trainSAE leaves autocast out, and then fails: given it, it is the same code.
    """
    torch.set_num_threads(1)
    settings = train_settings(trainer, tokens=64 * 110, norm_batches=101, autocast=precision)
    if precision == "bfloat16":
        settings["model"]["dtype"] = "bfloat16"
        monkeypatch.setattr("maskedsae.saes.training.check_device", lambda device, autocast: None)
        monkeypatch.setattr(
            "dictionary_learning.training.nullcontext", lambda: torch.autocast("cpu", dtype=torch.bfloat16)
        )
    stream = stream_of(settings, facts[family], tokens_folders[family])
    arguments = trainer_arguments(
        trainer,
        settings["trainer_settings"] | {"dict_size": 64},
        l0=8, steps=110, seed=0, width=32, layer=1, lm_name=facts[family]["name"], device="cpu",
    )  # fmt: skip
    torch.manual_seed(0)
    # The class, as trainSAE makes it; `dead_after_tokens` is a constant in it, which the class attribute cannot set.
    trainer_class = with_dead_after(TRAINERS[trainer], settings["trainer_settings"]["dead_after_tokens"])
    trainSAE(
        data=stream,
        trainer_configs=[arguments | {"trainer": trainer_class}],
        steps=110,
        normalize_activations=True,
        save_dir=str(tmp_path / "stock"),
        device="cpu",
        autocast_dtype=getattr(torch, precision),
    )
    train_set({8: tmp_path / "ours" / "l0_8"}, settings, facts[family], tokens_folders[family], COMPUTE)
    stock = torch.load(tmp_path / "stock" / "trainer_0" / "ae.pt", weights_only=True)
    assert_same(weights(tmp_path / "ours" / "l0_8"), stock)


def with_dead_after(trainer_class, tokens):
    def make(**arguments):
        made = trainer_class(**arguments)
        made.dead_feature_threshold = tokens
        return made

    return make


def test_norm_factor_is_train_saes(facts, tokens_folders):
    stream = stream_of(train_settings(), facts["gpt_neox"], tokens_folders["gpt_neox"])
    assert norm_factor(stream, 101) == get_norm_factor(stream, steps=100)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_alone_equals_with_siblings(trainer, facts, tokens_folders, tmp_path):
    settings = train_settings(trainer)
    together = {l0: tmp_path / "together" / f"l0_{l0}" for l0 in (4, 8, 16)}
    arguments = (facts["gpt_neox"], tokens_folders["gpt_neox"], COMPUTE)
    train_set(together, copy.deepcopy(settings), *arguments)
    for l0, folder in together.items():
        alone = tmp_path / "alone" / f"l0_{l0}"
        train_set({l0: alone}, copy.deepcopy(settings), *arguments)
        assert_same(weights(alone), weights(folder))
        for name in ("ae.pt", "sae_weights.safetensors", "SHA256SUMS", "quality.json", "config.json"):
            assert (alone / "sae" / name).read_bytes() == (folder / "sae" / name).read_bytes(), name


def test_logging_does_not_change_training(facts, tokens_folders, tmp_path):
    settings = train_settings()
    for log_every in (1, 1000):
        folder = tmp_path / f"every_{log_every}"
        compute = COMPUTE | {"log_every": log_every}
        train_set({8: folder}, settings, facts["gpt_neox"], tokens_folders["gpt_neox"], compute)
    assert_same(weights(tmp_path / "every_1"), weights(tmp_path / "every_1000"))


def test_one_that_diverges_does_not_take_its_siblings_along(facts, tokens_folders, tmp_path, monkeypatch):
    """Its loss is made infinite at step 30; the other ends as if it had been alone."""
    settings = train_settings()
    arguments = (facts["gpt_neox"], tokens_folders["gpt_neox"], COMPUTE)
    original = TRAINERS["matryoshka_batch_topk"].update

    def update(trainer, step, x):
        loss = original(trainer, step, x)
        return float("inf") if trainer.k == 4 and step == 30 else loss

    with monkeypatch.context() as patched:
        patched.setattr(TRAINERS["matryoshka_batch_topk"], "update", update)
        with pytest.raises(InputError, match=r"l0_4: training diverged: lower trainer_settings\.matryoshka"):
            train_set({l0: tmp_path / f"l0_{l0}" for l0 in (4, 8)}, settings, *arguments)
    train_set({8: tmp_path / "alone"}, settings, *arguments)
    train_set({8: tmp_path / "l0_8"}, settings, *arguments)  # from its last checkpoint: only written
    assert_same(weights(tmp_path / "l0_8"), weights(tmp_path / "alone"))
    assert not (tmp_path / "l0_4" / "sae").exists()
