"""What a kind of trainer is, how a trainer is made, and how its state is saved and restored.

Each kind has a file of its name in this folder, with one `KIND`. The classes are dictionary_learning's own, but for
those of an article, which its trainSAE drives as well (article.py).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ..settings import TrainSettings
from ..sources import Facts


@dataclass(frozen=True)
class Form:
    """How a class keeps its weights and chooses latents, for a step of our own (steps/fast.py)."""

    encoder: str  # the parameter's name
    encoder_bias: str
    decoder: str
    encoder_has_rows: bool  # one for each latent; the decoder then has columns, and the other way round
    each_row: bool  # k latents for each activation; otherwise k on average over the batch
    rounds_latents: bool  # autocast rounds the latents themselves, as nn.Linear's; otherwise only their product
    median: Callable[[torch.Tensor], torch.Tensor]  # of the first batch, where the decoder's bias starts


@dataclass(frozen=True)
class TrainerKind:
    """A class that dictionary_learning's trainSAE can drive, and how it differs from the others."""

    make: Any
    l0_argument: str | None  # what the class calls the nominal l0; None: it is given another setting for each
    # Latents as in training (by top-k, not by threshold), without touching the trainer's counters:
    # dictionary_learning's `log_stats` calls `trainer.loss`, which moves the threshold and the dead-latent counters.
    features: Callable[[Any, torch.Tensor], torch.Tensor]
    form: Form | None = None  # None: it has stock's step only
    state: tuple[str, ...] = ()  # further attributes that its next step depends on
    l1: str | None = None  # the attribute that is the coefficient of its L1 penalty; None: it has none
    mask: str | None = None  # the attribute that says which latents are masked; None: none ever is
    # Its weights as one of dictionary_learning's classes has them, from its own.
    as_saved: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = dict


def of_linear_layers(each_row: bool, median: Callable[[torch.Tensor], torch.Tensor]) -> Form:
    """Of the classes whose encoder and decoder are an nn.Linear each."""
    names = ("encoder.weight", "encoder.bias", "decoder.weight")
    return Form(*names, encoder_has_rows=True, each_row=each_row, rounds_latents=True, median=median)


def top_k_features(trainer: Any, x: torch.Tensor) -> torch.Tensor:
    features: torch.Tensor = trainer.ae.encode(x, use_threshold=False)
    return features


def encoded(trainer: Any, x: torch.Tensor) -> torch.Tensor:
    features: torch.Tensor = trainer.ae.encode(x)
    return features


def known_kinds() -> list[str]:
    return sorted({path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "base", "article"})


def trainer_kind(name: str) -> TrainerKind:
    kind: TrainerKind = import_module(f"{__package__}.{name}").KIND
    return kind


def trainer_arguments(settings: TrainSettings, l0: int, facts: Facts, device: str) -> dict[str, Any]:
    """Keyword arguments of the trainer's class, from its entry in the configuration."""
    trainer, steps = settings.trainer.at(l0), settings.training.steps
    l0_argument = trainer_kind(trainer.kind).l0_argument
    own = {key: value for key, value in trainer.settings.items() if key not in ("decay_start", "dead_after_tokens")}
    return (
        own
        | ({l0_argument: l0} if l0_argument else {})
        | {
            "dict_size": trainer.dict_size,
            "decay_start": int(trainer.settings["decay_start"] * steps),
            "steps": steps,
            "activation_dim": facts.width,
            "layer": facts.layer,
            "lm_name": facts.hub or facts.name,
            "seed": settings.seed,
            "device": device,
        }
    )


def make_trainer(settings: TrainSettings, l0: int, facts: Facts, device: str) -> Any:
    torch.manual_seed(settings.seed)  # dictionary_learning's JumpReLU takes a seed and does not use it
    trainer = trainer_kind(settings.trainer.kind).make(**trainer_arguments(settings, l0, facts, device))
    trainer.dead_feature_threshold = settings.trainer.settings["dead_after_tokens"]  # a constant there: 10M
    if not hasattr(trainer, "num_tokens_since_fired"):
        complete(trainer)
    return trainer


def complete(trainer: Any) -> None:
    """What dictionary_learning's ReLU and gated trainers lack: `last_loss`, since their `update` returns none, and
    `num_tokens_since_fired`. Neither touches the training."""
    trainer.num_tokens_since_fired = torch.zeros(trainer.ae.dict_size, dtype=torch.long, device=trainer.device)

    def count(decoder: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        """The decoder is given the latents: in each step once with gradients, and without them when they are
        measured."""
        if torch.is_grad_enabled():
            fired = (given[0] != 0).any(0)
            trainer.num_tokens_since_fired += len(given[0])
            trainer.num_tokens_since_fired.masked_fill_(fired, 0)

    def loss(*arguments: Any, **options: Any) -> Any:
        trainer.last_loss = type(trainer).loss(trainer, *arguments, **options)
        return trainer.last_loss

    trainer.ae.decoder.register_forward_pre_hook(count)
    trainer.loss = loss


def autocast(dtype: torch.dtype, device: str) -> AbstractContextManager[Any]:
    """A context in which matrix products use this number format."""
    return torch.autocast(device.split(":")[0], dtype=dtype) if dtype == torch.bfloat16 else nullcontext()


def decoder_rows(dictionary: Any) -> torch.Tensor:
    """One for each latent, in every class."""
    rows: torch.Tensor = dictionary.W_dec if hasattr(dictionary, "W_dec") else dictionary.decoder.weight.T
    return rows.detach()


def dead_latents(trainer: Any) -> int:
    return int((trainer.num_tokens_since_fired >= trainer.dead_feature_threshold).sum())


def state_dict(trainer: Any, kind: TrainerKind) -> dict[str, Any]:
    """Everything that the trainer's next step depends on."""
    return {
        **{name: getattr(trainer, name) for name in kind.state},
        "ae": trainer.ae.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": trainer.scheduler.state_dict(),
        "num_tokens_since_fired": trainer.num_tokens_since_fired,
    }


def load_state_dict(trainer: Any, kind: TrainerKind, state: dict[str, Any]) -> None:
    # Under bfloat16 the first step of dictionary_learning's Matryoshka trainer leaves b_dec in bfloat16, and
    # load_state_dict alone would turn it back into float32, which changes all later steps.
    for name, parameter in trainer.ae.named_parameters():
        parameter.data = parameter.data.to(state["ae"][name].dtype)
    trainer.ae.load_state_dict(state["ae"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.scheduler.load_state_dict(state["scheduler"])
    for name in ("num_tokens_since_fired", *kind.state):
        value = state[name]
        setattr(trainer, name, value.to(trainer.device) if isinstance(value, torch.Tensor) else value)
