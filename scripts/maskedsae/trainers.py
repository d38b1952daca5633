"""How an SAE learns: dictionary_learning's own trainers, by the names used in the configuration."""

import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.top_k import TopKTrainer

TRAINERS = {
    "matryoshka_batch_topk": MatryoshkaBatchTopKTrainer,
    "batch_topk": BatchTopKTrainer,
    "topk": TopKTrainer,
    "jumprelu": JumpReluTrainer,
}


def trainer_arguments(
    trainer: str, settings: dict, *, l0: int, steps: int, seed: int, width: int, layer: int, lm_name: str, device: str
) -> dict:
    """Keyword arguments of the trainer's class, from its block of the configuration."""
    own = {key: value for key, value in settings.items() if key not in ("decay_start", "dead_after_tokens")}
    return own | {
        "target_l0" if trainer == "jumprelu" else "k": l0,
        "decay_start": int(settings["decay_start"] * steps),
        "steps": steps,
        "activation_dim": width,
        "layer": layer,
        "lm_name": lm_name,
        "seed": seed,
        "device": device,
    }


def make_trainer(trainer: str, settings: dict, **arguments):
    torch.manual_seed(arguments["seed"])  # dictionary_learning's JumpReLU takes a seed and does not use it
    made = TRAINERS[trainer](**trainer_arguments(trainer, settings, **arguments))
    made.dead_feature_threshold = settings["dead_after_tokens"]  # a constant, 10M, in each of the classes
    return made


@torch.no_grad()
def training_features(trainer, x: torch.Tensor) -> torch.Tensor:
    """Latents of `x` as training sees them (a top-k, not a threshold), touching none of the trainer's counters.

    dictionary_learning's `log_stats` calls `trainer.loss`, which moves the threshold and the dead-latent counters.
    """
    if isinstance(trainer, JumpReluTrainer):
        return trainer.ae.encode(x)
    return trainer.ae.encode(x, use_threshold=False)


def dead_latents(trainer) -> int:
    return int((trainer.num_tokens_since_fired >= trainer.dead_feature_threshold).sum())


def state_dict(trainer) -> dict:
    """All that the trainer's next step depends on."""
    return {
        "ae": trainer.ae.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": trainer.scheduler.state_dict(),
        "num_tokens_since_fired": trainer.num_tokens_since_fired,
    }


def load_state_dict(trainer, state: dict) -> None:
    # Under bfloat16 the first step of dictionary_learning's Matryoshka trainer leaves b_dec in bfloat16, and
    # load_state_dict alone would turn it back into float32: another arithmetic from there on.
    for name, parameter in trainer.ae.named_parameters():
        parameter.data = parameter.data.to(state["ae"][name].dtype)
    trainer.ae.load_state_dict(state["ae"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.scheduler.load_state_dict(state["scheduler"])
    trainer.num_tokens_since_fired = state["num_tokens_since_fired"].to(trainer.device)
