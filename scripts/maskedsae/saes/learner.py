"""One SAE in training: its trainer, its progress, and its files."""

import csv
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from ..jobs.files import write_bytes
from ..jobs.leases import Lease
from ..jobs.log import log
from ..jobs.provenance import provenance
from . import checkpoints
from .cells import Cell
from .trainers import base as trainers
from .watching import COLUMNS as WATCHED
from .watching import Watch

# What a checkpoint holds besides the trainer's own state.
STATE = (
    *("settings", "step", "block", "carry", "norm_factor", "seconds", "rows", "runs", "trained_with"),
    *("final_weights", "final_config", "diverged_at"),
)

COLUMNS = (
    *("step", "tokens", "loss", "l0", "explained_variance", "mse", "dead_latents", "threshold", "lr"),
    *(*WATCHED, "loss_variance", "tokens_per_second", "seconds"),
)


class Learner:
    def __init__(self, cell: Cell, folder: Path, trainer: Any, kind: str, settings: dict[str, Any], lease: Lease):
        self.cell, self.folder, self.trainer, self.lease = cell, folder, trainer, lease
        self.kind, self.settings = trainers.trainer_kind(kind), settings
        self.way: str = settings["training"]["step"]  # stock or fast; `step` is a number here
        self.step = self.block = 0
        self.loss = float("nan")  # of the last step
        self.carry: torch.Tensor | None = None
        self.norm_factor: float | None = None
        self.seconds = 0.0
        self.watch = Watch()
        self.rows: list[list[float | None]] = []
        self.runs: list[dict[str, Any]] = []
        self.trained_with: list[str] = []
        self.final_weights: dict[str, torch.Tensor] | None = None
        self.final_config: dict[str, Any] = {}  # the trainer's own words; some of PAnnealTrainer's change in training
        self.diverged_at: int | None = None
        self.checkpoint = folder / "checkpoint" / "state.pt"

    @property
    def finished(self) -> bool:
        return self.final_weights is not None

    @property
    def diverged(self) -> bool:
        return self.diverged_at is not None

    @property
    def learns(self) -> bool:
        return not (self.finished or self.diverged)

    def bytes_needed(self) -> int:
        """On disk: the weights in ae.pt and in safetensors; and until the SAE is finished a checkpoint of the weights
        and Adam's two moments, twice while one replaces the other."""
        weights: int = sum(value.nbytes for value in self.trainer.ae.state_dict().values())
        return weights * (2 if self.finished else 8)

    def bytes_written(self) -> int:
        """On disk already."""
        folders = (self.folder / "checkpoint", self.folder / "sae")
        return sum(path.stat().st_size for folder in folders for path in folder.glob("*") if path.is_file())

    def resume(self) -> None:
        state = checkpoints.load(self.checkpoint)
        if state is None:
            return
        if changed := differing(state["settings"], self.settings):
            aside = self.checkpoint.with_name(f"state_of_other_settings_at_step_{state['step']}.pt")
            self.lease.check()
            self.checkpoint.rename(aside)
            log.info(
                *("%s: its checkpoint was made with other settings (%s): starting over; the old one is now %s",),
                *(self.folder, ", ".join(changed), aside),
            )
            return
        for name in STATE:
            setattr(self, name, state[name])
        self.watch.load_state(state["watch"], self.trainer.device)
        if self.finished:
            log.info("%s: is trained already; its files are written again from %s", self.folder, self.checkpoint)
        elif not self.diverged:
            trainers.load_state_dict(self.trainer, self.kind, state["trainer"])
            log.info("%s: going on from its checkpoint at step %s", self.folder, f"{self.step:,}")

    def save(self, block: int, carry: torch.Tensor) -> None:
        self.lease.check()
        self.block, self.carry = block, carry.cpu()
        state = {name: getattr(self, name) for name in STATE}
        state["watch"] = self.watch.state()
        # The last checkpoint holds the finished SAE alone: a third of the size, and enough to write its files again.
        state["trainer"] = trainers.state_dict(self.trainer, self.kind) if self.learns else None
        checkpoints.save(self.checkpoint, state)

    def record_run(self, device: str) -> None:
        """Record what runs from here on, if it differs from what ran before."""
        run = provenance(device)
        if not self.runs or {**self.runs[-1], "from_step": None} != {**run, "from_step": None}:
            self.runs.append(run | {"from_step": self.step})

    def record_losses(self, losses: Sequence[float]) -> None:
        """Its last steps had these losses."""
        for number, loss in enumerate(losses, self.step - len(losses)):
            self.loss = loss
            self.watch.losses.append(loss)
            if not isfinite(loss) and not self.diverged:
                self.diverged_at = number
                log.error("%s: diverged at step %s (loss %s); the others go on", self.folder, f"{number:,}", loss)

    def measure(self, x: torch.Tensor, autocast: AbstractContextManager[Any]) -> list[float | None]:
        """l0, explained variance, mse, dead latents, threshold (None: it has none) and learning rate, as in training;
        then what the audit reads.

        Explained variance is 1 - |x - x_hat|^2 / |x - mean of the batch|^2, as in quality.json for clean text.
        """
        with torch.no_grad(), autocast:
            features = self.kind.features(self.trainer, x)
            residual = (x - self.trainer.ae.decode(features)).float()
            explained = 1 - residual.pow(2).sum() / (x.float() - x.float().mean(0)).pow(2).sum()
            self.watch.see(features)
        return [
            (features != 0).sum(-1).float().mean().item(),
            explained.item(),
            residual.pow(2).mean().item(),
            trainers.dead_latents(self.trainer),
            self.trainer.ae.threshold.mean().item() if hasattr(self.trainer.ae, "threshold") else None,
            self.trainer.scheduler.get_last_lr()[0],
            *self.watch.row(self.trainer, self.kind),
        ]

    def finish(self) -> None:
        if self.norm_factor is not None:
            self.trainer.ae.scale_biases(self.norm_factor)
        weights = self.kind.as_saved(self.trainer.ae.state_dict())
        self.final_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self.final_config = self.trainer.config

    def log(self, row: list[float | None]) -> None:
        self.rows.append(row)
        self.lease.check()
        with open(self.folder / "training.csv", "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)

    def write_log(self) -> None:
        """Write the whole of training.csv. After a restart this drops the rows logged since the checkpoint."""
        self.lease.check()
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *self.rows])
        write_bytes(self.folder / "training.csv", text.getvalue().encode())


def differing(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the settings whose values differ."""
    names = []
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += differing(old, new, f"{prefix}{key}.")
        elif old != new:
            names.append(prefix + key)
    return sorted(names)
