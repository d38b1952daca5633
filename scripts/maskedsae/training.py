"""Training an l0 set: SAEs that differ in l0 alone learn side by side from one stream of activations.

The loop does with dictionary_learning's trainers what its `trainSAE` does (tests/unit/test_training.py: bit for bit),
and in addition stops and goes on anywhere, logs without touching the training, and lets go of nothing half written.
"""

import csv
import io
import logging
import time
from contextlib import ExitStack, nullcontext
from itertools import islice
from math import isfinite
from pathlib import Path

import torch

from . import checkpoints, publishing, trainers
from .errors import InputError
from .files import require_space, sha256, write_bytes
from .leases import Lease
from .models import LanguageModel, check_device, set_threads
from .progress import Progress
from .provenance import provenance
from .streams import ActivationStream
from .tokens import Tokens

log = logging.getLogger("maskedsae")

# Code that writes what was trained: after a change of it alone, a finished SAE's files are written again, not trained.
WRITERS = {"publishing", "quality", "saefiles"}

# What a checkpoint holds beside the trainer's own state.
STATE = ("settings", "step", "block", "carry", "norm_factor", "seconds", "rows", "runs", "final_weights")

COLUMNS = (
    *("step", "tokens", "loss", "l0", "explained_variance", "mse", "dead_latents", "threshold", "lr"),
    *("tokens_per_second", "seconds"),
)


class Learner:
    """One SAE of the set: its trainer, how far it is, and its files."""

    def __init__(self, folder: Path, l0: int, trainer, settings: dict, lease: Lease):
        self.folder, self.l0, self.trainer, self.settings, self.lease = folder, l0, trainer, settings, lease
        self.step = self.block = 0
        self.carry: torch.Tensor | None = None
        self.norm_factor: float | None = None
        self.seconds = 0.0
        self.rows: list[list[float]] = []
        self.runs: list[dict] = []
        self.final_weights: dict[str, torch.Tensor] | None = None
        self.diverged = False
        self.checkpoint = folder / "checkpoint" / "state.pt"

    def size(self) -> int:
        """Bytes of the weights."""
        return sum(value.nbytes for value in self.trainer.ae.state_dict().values())

    def resume(self) -> None:
        state = checkpoints.load(self.checkpoint)
        if state is None:
            return
        if changed := differing(state["settings"], self.settings):
            aside = self.checkpoint.with_name(f"state_of_other_settings_at_step_{state['step']}.pt")
            self.checkpoint.rename(aside)
            why = ", ".join(changed)
            log.info(
                "%s: its checkpoint is of other settings (%s): starting over, old one in %s", self.folder, why, aside
            )
            return
        for name in STATE:
            setattr(self, name, state[name])
        if self.final_weights is None:
            trainers.load_state_dict(self.trainer, state["trainer"])
            log.info("%s: going on from its checkpoint at step %s", self.folder, f"{self.step:,}")
        else:
            log.info("%s: was trained to its end; its files are written again from %s", self.folder, self.checkpoint)

    def save(self, block: int, carry: torch.Tensor) -> None:
        self.lease.check()
        self.block, self.carry = block, carry.cpu()
        state = {name: getattr(self, name) for name in STATE}
        # The last checkpoint holds the finished SAE alone: a third of the size, and enough to write its files again.
        state["trainer"] = trainers.state_dict(self.trainer) if self.final_weights is None else None
        checkpoints.save(self.checkpoint, state)

    def began(self, device: str) -> None:
        """Note what runs from here on, where it is not what ran before."""
        run = provenance(device)
        if not self.runs or {**self.runs[-1], "from_step": None} != {**run, "from_step": None}:
            self.runs.append(run | {"from_step": self.step})

    def learn(self, x: torch.Tensor, autocast) -> float:
        with autocast:
            loss = self.trainer.update(self.step, x)
        if not isfinite(loss):
            self.diverged = True
            log.error("%s: diverged at step %s (loss %s); the others go on", self.folder, f"{self.step:,}", loss)
        self.step += 1
        return loss

    def measure(self, x: torch.Tensor, autocast) -> list[float]:
        """l0, explained variance, mse, dead latents, threshold and learning rate, as training sees them."""
        with torch.no_grad(), autocast:
            features = trainers.training_features(self.trainer, x)
            residual = x - self.trainer.ae.decode(features)
            explained = 1 - residual.float().var(0).sum() / x.float().var(0).sum()
        return [
            (features != 0).sum(-1).float().mean().item(),
            explained.item(),
            residual.float().pow(2).mean().item(),
            trainers.dead_latents(self.trainer),
            self.trainer.ae.threshold.mean().item(),
            self.trainer.scheduler.get_last_lr()[0],
        ]

    def finish(self) -> None:
        if self.norm_factor is not None:
            self.trainer.ae.scale_biases(self.norm_factor)
        self.final_weights = {
            name: value.detach().cpu().clone() for name, value in self.trainer.ae.state_dict().items()
        }

    def log(self, row: list[float]) -> None:
        self.rows.append(row)
        self.lease.check()
        with open(self.folder / "training.csv", "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)

    def write_log(self) -> None:
        """The whole of training.csv: after a restart, what was logged behind the checkpoint is not yet so."""
        self.lease.check()
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *self.rows])
        write_bytes(self.folder / "training.csv", text.getvalue().encode())


def train_set(folders: dict[int, Path], settings: dict, facts: dict, tokens_folder: Path, compute: dict) -> None:
    """Train the SAEs of `folders` ({l0: the cell's folder}).

    settings: all that decides the numbers, as `grid.train_settings` makes it. facts: `models.describe`'s.
    compute: how, not what: device, threads, checkpoint_minutes, log_every.
    """
    training = settings["training"]
    check_device(compute["device"], training["autocast"])
    set_threads(compute["threads"])
    tokens = Tokens.open(tokens_folder)
    numbers = {module: value for module, value in settings["code"].items() if module not in WRITERS}
    settings = settings | {"code": numbers, "tokens": sha256(tokens_folder / "manifest.json"), "model_facts": facts}
    with ExitStack() as stack:
        leases = {l0: stack.enter_context(Lease(folder / "checkpoint")) for l0, folder in folders.items()}
        learners = [
            Learner(folder, l0, make_trainer(l0, settings, facts, compute["device"]), settings, leases[l0])
            for l0, folder in folders.items()
        ]
        # ae.pt and safetensors; a checkpoint of weights and Adam's two moments, twice while one replaces the other.
        size = sum(8 * learner.size() for learner in learners)
        require_space(learners[0].folder, size, f"{len(learners)} SAEs with their checkpoints")
        for learner in learners:
            learner.resume()
            learner.began(compute["device"])
            learner.write_log()
        model = LanguageModel(facts, settings["model"]["dtype"], compute["device"])
        stream = make_stream(model, tokens, settings, facts)
        learn_all(learners, stream, training, compute)
        if diverged := [str(learner.folder) for learner in learners if learner.diverged]:
            raise InputError(
                f"{', '.join(diverged)}: training diverged: lower trainer_settings.{settings['trainer']}.lr; the set's "
                "other SAEs are kept in their checkpoints"
            )
        publishing.publish(learners, stream, tokens, facts, compute["device"])


def make_trainer(l0: int, settings: dict, facts: dict, device: str):
    return trainers.make_trainer(
        settings["trainer"],
        settings["trainer_settings"] | {"dict_size": settings["training"]["dict_size"]},
        l0=l0,
        steps=settings["training"]["tokens"] // settings["training"]["batch"],
        seed=settings["seed"],
        width=facts["width"],
        layer=facts["layer"],
        lm_name=facts["hub"] or facts["name"],
        device=device,
    )


def make_stream(model: LanguageModel, tokens: Tokens, settings: dict, facts: dict) -> ActivationStream:
    training = settings["training"]
    return ActivationStream(
        model,
        tokens,
        name=settings["stream"]["name"],
        p=settings["stream"]["p"],
        mask_id=facts["mask_id"],
        special_ids=facts["special_ids"],
        seed=settings["seed"],
        batch=training["batch"],
        block_contexts=max(1, training["shuffle_tokens"] // tokens.context_length),
        lm_batch=settings["model"]["lm_batch"],
        drop_bos=training["drop_bos"],
        max_norm_multiple=training["max_norm_multiple"],
    )


def learn_all(learners: list[Learner], stream: ActivationStream, training: dict, compute: dict) -> None:
    """Bring every learner to the last step. Those that a restart found further on wait until the stream is there."""
    steps = training["tokens"] // training["batch"]
    behind = min(learners, key=lambda learner: learner.step)
    step = behind.step
    if step == steps and behind.final_weights is not None:
        return
    if training["normalise"] and behind.norm_factor is None:
        behind.norm_factor = norm_factor(stream, training["norm_batches"])
    for learner in learners:
        learner.norm_factor = behind.norm_factor
    dtype = getattr(torch, training["autocast"])
    autocast = autocast_to(dtype, compute["device"])
    clock, saved = Clock(behind.seconds, step), time.monotonic()
    what = f"{stream.model.name} {stream.name} l0 {', '.join(str(learner.l0) for learner in learners)}"
    with Progress(what, steps, "steps", start=step) as progress:
        for block, carry, batches in stream.blocks(behind.block, behind.carry):
            if time.monotonic() - saved > 60 * compute["checkpoint_minutes"]:
                save_all(learners, step, block, carry, clock)
                log.info("%s: checkpoint at step %s of %s", what, f"{step:,}", f"{steps:,}")
                saved = time.monotonic()
            for batch in batches[: steps - step]:
                x = batch.to(dtype)
                if training["normalise"]:
                    x = x / behind.norm_factor
                logged = step % compute["log_every"] == 0 or step == steps - 1
                speed = clock.speed(step, training["batch"]) if logged else 0.0
                losses = []
                for learner in learners:
                    if learner.step != step or learner.diverged:
                        continue
                    measures = learner.measure(x, autocast) if logged else []
                    losses.append(learner.learn(x, autocast))
                    if logged:
                        seen = learner.step * training["batch"]
                        learner.log([step, seen, losses[-1], *measures, speed, clock.seconds()])
                step += 1
                progress.advance(1, "loss " + ", ".join(f"{loss:.3g}" for loss in losses) if logged else "")
            if step == steps or all(learner.diverged for learner in learners):
                break
    if step < steps and not all(learner.diverged for learner in learners):
        raise InputError(
            f"{stream.model.name}: the stream ended after {step:,} of {steps:,} steps: more than one activation in a "
            "hundred was dropped: raise training.max_norm_multiple"
        )
    for learner in learners:
        if learner.final_weights is None and not learner.diverged:
            learner.finish()
    save_all(learners, step, block + 1, carry[:0], clock)


def autocast_to(dtype: torch.dtype, device: str):
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.split(":")[0], dtype=dtype)


def save_all(learners: list[Learner], step: int, block: int, carry: torch.Tensor, clock: "Clock") -> None:
    for learner in learners:
        if learner.step == step and not learner.diverged:
            learner.seconds = clock.seconds()
            learner.save(block, carry)


def norm_factor(stream: ActivationStream, batches: int) -> float:
    """Root of the mean squared norm, by which activations are scaled to unit mean square, as `trainSAE` computes it."""
    squares = [torch.mean(torch.sum(x**2, dim=1)) for x in islice(stream, batches)]
    return torch.sqrt(sum(squares) / len(squares)).item()


class Clock:
    """Seconds spent, over all the runs that it took, and the speed since the last row of the log."""

    def __init__(self, spent: float, step: int):
        self.began = self.last = time.monotonic()
        self.spent, self.last_step = spent, step

    def seconds(self) -> float:
        return round(self.spent + time.monotonic() - self.began, 3)

    def speed(self, step: int, batch: int) -> float:
        now = time.monotonic()
        speed = (step - self.last_step) * batch / max(now - self.last, 1e-9)
        self.last, self.last_step = now, step
        return round(speed, 1)


def differing(before: dict, now: dict, prefix: str = "") -> list[str]:
    """Dotted names of the settings whose values differ."""
    names = []
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += differing(old, new, f"{prefix}{key}.")
        elif old != new:
            names.append(prefix + key)
    return sorted(names)
