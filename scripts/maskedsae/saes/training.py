"""Training SAEs that share a stream: cells that differ in l0, trainer or seed learn side by side.

With `training.step: stock` the loop does with dictionary_learning's trainers what its `trainSAE` does
(tests/unit/test_training.py: bit for bit). In addition it can stop and resume anywhere, logs without touching the
training, and never leaves a file half written.
"""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ..activations.language_models import read_facts
from ..activations.settings import ModelFacts
from ..jobs.compute import Compute
from ..jobs.device import check_device, set_threads
from ..jobs.errors import InputError
from ..jobs.files import require_space
from ..jobs.leases import Lease
from ..jobs.log import log
from ..jobs.progress import Progress
from ..jobs.typed import plain
from ..text.tokens import Tokens
from . import publishing
from .cells import Cell
from .learner import Learner
from .settings import Training, TrainJobSettings, TrainSettings
from .sources import Facts, LanguageModelSource, Rows, Source
from .team import Team
from .trainers.base import autocast, make_trainer, trainer_kind

# Code that writes a trained SAE: if only this changes, a finished SAE's files are written again, without training.
WRITERS = {"saes.publishing", "saes.quality", "saes.formats"}


def train_job(
    outputs: Iterable[str], settings: TrainJobSettings, model_file: str | Path, manifest: str | Path, compute: Compute
) -> None:
    """Train the cells that `outputs` are in. `model_file` is model.json, `manifest` that of the tokens."""
    folders = {cell: cell.folder for cell in dict.fromkeys(Cell.parse(output) for output in outputs)}
    train_cells(folders, settings, read_facts(model_file), manifest, compute)


def train_cells(
    folders: dict[Cell, Path], settings: TrainJobSettings, facts: ModelFacts, manifest: str | Path, compute: Compute
) -> None:
    """Train the cells, each into its folder, on a language model; `manifest` is that of the tokens."""
    tokens = Tokens.open(Path(manifest).parent).first(settings.contexts)
    train_from(LanguageModelSource(facts, tokens, settings, compute.device), folders, settings, compute)


def train_from(source: Source, folders: dict[Cell, Path], settings: TrainJobSettings, compute: Compute) -> None:
    """Train the cells, each into its folder, and publish them; those that diverge are an error at the end."""
    check_device(compute.device, settings.training.autocast)
    set_threads(compute.threads)
    with ExitStack() as stack:
        learners = []
        for cell, folder in folders.items():
            lease = stack.enter_context(Lease(folder / "checkpoint"))
            own = settings.for_cell(cell.trainer, cell.seed)
            own = replace(own, trainer=own.trainer.at(cell.l0))
            if trainer_kind(own.trainer.kind).form is None:
                log.info("%s: %s takes its class's own steps, since it has no others", cell.words, own.trainer.kind)
            trainer = make_trainer(own, cell.l0, source.facts, compute.device)
            identity = identity_of(own, source.facts, source.text)
            learners.append(Learner(cell, folder, trainer, own.trainer.kind, identity, lease))
        for learner in learners:
            learner.resume()
        size = sum(max(0, learner.bytes_needed() - learner.bytes_written()) for learner in learners)
        require_space(learners[0].folder, size, f"{len(learners)} SAEs with their checkpoints")
        for learner in learners:
            if learner.learns:
                learner.record_run(compute.device)
            learner.write_log()
        learn_all(learners, source.rows, settings.training, compute)
        if finished := [learner for learner in learners if learner.finished]:
            publishing.publish(finished, source, compute.device)
        if diverged := [learner for learner in learners if learner.diverged]:
            raise InputError(divergence(diverged, kept=len(finished)))


def identity_of(settings: TrainSettings, facts: Facts, text: str | None) -> dict[str, Any]:
    """What must be unchanged for a checkpoint to be resumed; `text` is the digest of the contexts."""
    code = {module: value for module, value in settings.code.items() if module not in WRITERS}
    identity: dict[str, Any] = plain(settings)
    return identity | {"code": code, "tokens": text, "model_facts": plain(facts)}


def divergence(diverged: list[Learner], kept: int) -> str:
    """The error's message."""
    where = ", ".join(f"{learner.folder} (at step {learner.diverged_at:,})" for learner in diverged)
    trainer, kind = diverged[0].cell.trainer, diverged[0].settings["trainer"]["kind"]
    others = f"; the job's other SAEs ({kept}) are written" if kept else ""
    return (
        f"{where}: training diverged{others}. Take it out of the grid (l0, seeds or trainers), or train it by an entry "
        f"of its own with a lower lr (kind: {kind}): lowering trainer_settings.{trainer}.lr itself trains every SAE of "
        "that trainer again. To try the same once more, delete its checkpoint/"
    )


def learn_all(learners: list[Learner], stream: Rows, training: Training, compute: Compute) -> None:
    """Train every learner to the last step. After a restart, those further on wait until the stream reaches them."""
    learners = [learner for learner in learners if learner.learns]
    if not learners:
        return
    behind = min(learners, key=lambda learner: learner.step)
    step, steps = behind.step, training.steps
    if training.normalise and behind.norm_factor is None:
        behind.norm_factor = norm_factor(stream, training.norm_batches)
    for learner in learners:
        learner.norm_factor = behind.norm_factor
        learner.trained_with = [other.cell.name for other in learners]
    dtype = getattr(torch, training.autocast)
    clock, saved = Clock(behind.seconds, step), time.monotonic()
    what = f"{stream.model.name} {stream.stream.name} {log_name(learners)}"
    team = Team([], dtype, compute.device)
    with Progress(what, steps, "steps", start=step) as progress:
        for block, carry, batches in stream.blocks(behind.block, behind.carry):
            if time.monotonic() - saved > 60 * compute.checkpoint_minutes:
                settle(team, block, carry)
                save_all(learners, step, block, carry, clock)
                log.info("%s: checkpoint at step %s of %s", what, f"{step:,}", f"{steps:,}")
                saved = time.monotonic()
            for batch in batches[: steps - step]:
                x = batch.to(dtype)
                if behind.norm_factor is not None:
                    x = x / behind.norm_factor
                going = [learner for learner in learners if learner.step == step and not learner.diverged]
                if going != team.learners:
                    settle(team, block, carry)
                    going = [learner for learner in going if not learner.diverged]
                    team = Team(going, dtype, compute.device)
                logged = step % compute.log_every == 0 or step == steps - 1
                measures = [learner.measure(x, autocast(dtype, compute.device)) for learner in going if logged]
                team.learn(step, x)
                step += 1
                if logged or not team.waits:
                    settle(team, block, carry)
                if logged:
                    speed, seconds = clock.speed(step, training.batch), clock.seconds()
                    for learner, measured in zip(going, measures, strict=True):
                        if not learner.diverged:
                            learner.log([step - 1, step * training.batch, learner.loss, *measured, speed, seconds])
                losses = ", ".join(f"{learner.loss:.3g}" for learner in going) if logged else ""
                progress.advance(1, f"loss {losses}" if losses else "")
            if step == steps or all(learner.diverged for learner in learners):
                break
    if team.learners:  # otherwise the stream had no block left
        settle(team, block, carry)
    if step < steps and not all(learner.diverged for learner in learners):
        raise InputError(
            f"{stream.model.name}: the stream ended after {step:,} of {steps:,} steps: more than one activation in a "
            "hundred was dropped: raise training.max_norm_multiple"
        )
    for learner in learners:
        if not learner.diverged:
            learner.finish()
            learner.seconds = clock.seconds()
            learner.save(block + 1, carry[:0])


def log_name(learners: list[Learner]) -> str:
    """What is trained, for log lines, without what all learners share."""
    l0s = dict.fromkeys(str(learner.cell.l0) for learner in learners)
    words = f"l0 {', '.join(l0s)}"
    for key in ("trainer", "seed"):
        count = len({getattr(learner.cell, key) for learner in learners})
        words += f" x {count} {key}s" if count > 1 else ""
    return words


def settle(team: Team, block: int, carry: torch.Tensor) -> None:
    """Find out who has diverged, before anything is saved as if it had not."""
    for learner in team.settle():
        learner.save(block, carry)  # so that another attempt does not train up to here again


def save_all(learners: list[Learner], step: int, block: int, carry: torch.Tensor, clock: "Clock") -> None:
    for learner in learners:
        if learner.step == step and not learner.diverged:
            learner.seconds = clock.seconds()
            learner.save(block, carry)


def norm_factor(stream: Rows, batches: int) -> float:
    """Root of the mean squared norm, as `trainSAE` computes it: divided by it, activations have mean squared norm 1."""
    squares = [torch.mean(torch.sum(x**2, dim=1)) for x in islice(stream, batches)]
    total: Any = sum(squares)  # in the same order as in trainSAE
    return float(torch.sqrt(total / len(squares)).item())


class Clock:
    """Seconds spent in all runs so far, and the speed since the last logged row."""

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
