"""Steps about activations and training: agreement with the CPU, speed, the training job, and resuming it."""

import csv
import math
import signal
import subprocess
import sys
import time
from contextlib import chdir
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from device import on_gpu, peak_gigabytes, reset_peak, timed
from given import Found, Kit, Wrong, require

from maskedsae.experiment.grid import Cell
from maskedsae.jobs.device import set_threads
from maskedsae.jobs.files import read_json, sha256
from maskedsae.saes import checkpoints
from maskedsae.saes.settings import TrainJobSettings, TrainSettings
from maskedsae.saes.steps import stock
from maskedsae.saes.trainers.base import make_trainer, trainer_kind
from maskedsae.text.tokens import Tokens

TIMED_BLOCKS = 3
AGREEING_STEPS, AGREEING_ROWS = 10, 512

# How far the device may be from the CPU. The residual stream: relative size of the difference, float32 from float64
# (here 5e-7; with TF32 it would be 4e-4), bfloat16 from float32 (1.5e-2 for Gemma's shape, both on a CPU). The losses
# of training steps in float32: relative; weights are not compared, since a tie between latents that rounding decides
# otherwise moves single weights by up to a tenth, and the loss by 2e-6.
RESIDUAL_TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2}
LOSS_TOLERANCE = 1e-4


def stream_of(kit: Kit, name: str, settings: TrainJobSettings) -> Any:
    """The activation stream of its training job, as the job makes it."""
    from maskedsae.activations.language_models import LanguageModel, read_facts
    from maskedsae.saes.sources import make_stream

    set_threads(kit.config.compute.threads)
    tokens = Tokens.open(kit.tokens(name).parent).first(settings.contexts)
    model = LanguageModel(read_facts(kit.facts(name)), settings.model.dtype, kit.device)
    return make_stream(model, tokens, settings.stream, settings.stream_seed, settings.model, settings.training)


def normalised(batch: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """As training has it: with a mean squared norm of 1."""
    return batch.to(dtype) / batch.float().pow(2).sum(-1).mean().sqrt().item()


def tokens_per_second(kit: Kit, data: Any) -> tuple[float, Any]:
    """The stream's speed, and the last block that was read."""
    blocks, rows = data.blocks(), 0
    next(blocks)  # the first forward passes are slower
    with timed(kit.device) as seconds:
        for last in islice(blocks, TIMED_BLOCKS):
            rows += sum(map(len, last[2]))
    return rows / seconds.value, last


def stream(kit: Kit, name: str) -> Found:
    """Tokens a second through the language model."""
    from maskedsae.saes.sources import make_stream

    settings, entry = kit.training(name), kit.config.model(name)
    data = stream_of(kit, name, settings)
    reset_peak(kit.device)
    speed, (block, carry, batches) = tokens_per_second(kit, data)
    peak = peak_gigabytes(kit.device)
    require(all(bool(torch.isfinite(batch).all()) for batch in batches), "some activations are not finite")
    reading, training = settings.model, settings.training
    other = make_stream(data.model, data.tokens, settings.stream, settings.stream_seed, reading, training)
    _, _, again = next(other.blocks(block, carry))  # of a stream with buffers of its own
    same = len(batches) == len(again) and all(map(torch.equal, batches, again))
    require(same, f"the stream, started at block {block}, gives other bits than when it is read through")
    assert entry.gflop is not None
    rates = {entry.dtype: speed * entry.gflop / 1000}
    if entry.dtype == "float32" and on_gpu(kit.device):
        data.batching = replace(data.batching, tf32=True)
        rates["tf32"] = tokens_per_second(kit, data)[0] * entry.gflop / 1000
    words = f"{speed:,.0f} tokens/s (TFLOP/s: {', '.join(f'{key} {rate:.3g}' for key, rate in rates.items())})"
    return Found(words, {"tokens_per_second": speed, "tflops": rates, "dtype": entry.dtype, "gigabytes": peak})


def agreement(kit: Kit, name: str) -> Found:
    """The residual stream, and a few training steps on the same rows, beside the CPU's."""
    from maskedsae.activations.language_models import LanguageModel

    settings = kit.training(name)
    data = stream_of(kit, name, settings)
    dtype = settings.model.dtype
    contexts = torch.from_numpy(data.tokens.contexts(0, 1))[:, :128]
    reference = LanguageModel(data.model.facts, "float64" if dtype == "float32" else "float32", "cpu")
    expected, found = reference.residual(contexts).double(), data.model.residual(contexts).double().cpu()
    difference = ((found - expected).norm() / expected.norm()).item()
    allowed = RESIDUAL_TOLERANCE[dtype]
    far = f"the residual stream ({dtype}) is {difference:.2g} of its size away from the CPU's"
    require(difference <= allowed, f"{far}, and {allowed:g} is allowed")
    del reference
    cell = kit.job(name).cells[0]
    own = settings.for_cell(cell.trainer, cell.seed)
    own = replace(own, training=replace(own.training, autocast="float32"))
    batches = [normalised(batch[:AGREEING_ROWS], torch.float32).cpu() for batch in islice(data, AGREEING_STEPS)]
    facts = data.model.facts
    losses, on_cpu = (losses_on(own, cell.l0, facts, batches, device) for device in (kit.device, "cpu"))
    apart = max(abs(here - there) / abs(there) for here, there in zip(losses, on_cpu, strict=True))
    far = f"in {len(batches)} training steps in float32 a loss is {apart:.2g} of its size away from the CPU's"
    require(apart <= LOSS_TOLERANCE, f"{far}, and {LOSS_TOLERANCE:g} is allowed: {losses} against {on_cpu}")
    words = f"from the CPU's: residual stream {difference:.1g} (at most {allowed:g}), "
    words += f"losses of {len(batches)} training steps {apart:.1g} (at most {LOSS_TOLERANCE:g})"
    return Found(words, {"residual_stream": difference, "loss": apart, "losses": losses, "losses_on_cpu": on_cpu})


def losses_on(
    settings: TrainSettings, l0: int, facts: Any, batches: list[torch.Tensor], device: str, way: Any = stock
) -> list[float]:
    """Of float32 steps."""
    trainer = make_trainer(settings, l0, facts, device)
    # The same first weights, whichever device they were drawn on.
    trainer.ae.load_state_dict(make_trainer(settings, l0, facts, "cpu").ae.state_dict())
    steps = way.steps_of([trainer], [trainer_kind(settings.trainer.kind).form], torch.float32, device)
    for number, x in enumerate(batches):
        steps(number, x.to(device))
    return [row[0] for row in steps.losses()]


def train(kit: Kit, name: str, step: str = "stock", checkpoint_minutes: str = "60") -> Found:
    """The training job of a model: all its l0s side by side, quality and files; `fast` in a folder of its own."""
    if step != "stock" and Path.cwd().name != step:
        with chdir(link_inputs(kit, name, Path(step))):
            return train(kit, name, step, checkpoint_minutes)
    from maskedsae.saes.training import train_job

    job, training = kit.job(name), kit.config.training
    compute = replace(kit.config.compute, checkpoint_minutes=float(checkpoint_minutes))
    settings = kit.training(name)
    settings = replace(settings, training=replace(settings.training, step=step))
    reset_peak(kit.device)
    train_job(job.files(), settings, kit.facts(name), kit.tokens(name), compute)
    peak = peak_gigabytes(kit.device)
    missing = [file for file in job.files() if not Path(file).exists()]
    require(not missing, f"{missing[:1]} was not written")
    quality = {cell.l0: read_json(cell.folder / "sae" / "quality.json") for cell in job.cells}
    for cell in job.cells:
        rows = logged(cell)
        first, last = rows[0]["explained_variance"], rows[-1]["explained_variance"]
        require(last > first, f"l0 {cell.l0}: it learned nothing: explained variance {first:.3g}, then {last:.3g}")
        l0, explained = (quality[cell.l0][key] for key in ("l0", "explained_variance"))
        require(l0 > 0 and math.isfinite(explained), f"l0 {cell.l0}: its quality is none: {quality[cell.l0]}")
    # From the second block on: the first one's forward passes are those that measured the norm.
    before = [row for row in rows if row["step"] < training.shuffle_tokens // training.batch][-1]
    speed = (rows[-1]["tokens"] - before["tokens"]) / (rows[-1]["seconds"] - before["seconds"])
    variances = ", ".join(f"{row['explained_variance']:.2f}" for row in quality.values())
    words = f"{len(job.cells)} SAEs, {speed:,.0f} tokens/s together"
    words += "" if kit.small else f", so 500M in {500e6 / speed / 3600:.1f} h"
    words += f"; explained variance {variances}"
    numbers = {"tokens_per_second": speed, "gigabytes": peak, "steps": training.steps}
    return Found(words, numbers | {"quality": {str(l0): row for l0, row in quality.items()}})


def logged(cell: Cell) -> list[dict[str, float]]:
    """The rows of training.csv."""
    with open(cell.folder / "training.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def link_inputs(kit: Kit, name: str, folder: Path) -> Path:
    """A folder in which the job finds what it reads, and makes its own."""
    for path in (kit.corpus.parent, kit.facts(name), kit.tokens(name).parent):
        link = folder / path
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(path.absolute())
    return folder


def resume(kit: Kit, name: str, step: str = "stock") -> Found:
    """The same job once more in a folder of its own, killed when it has a checkpoint, and started again."""
    job, folder = kit.job(name), link_inputs(kit, name, Path("resumed"))
    inner = Path() if step == "stock" else Path(step)
    states = [folder / inner / cell.folder / "checkpoint" / "state.pt" for cell in job.cells]
    often = f"train {name} {step} 0.001"  # with a checkpoint after every block
    killed = start(kit, often, folder)
    while killed.poll() is None and not all(state.exists() for state in states):
        time.sleep(0.05)
    time.sleep(0.2)  # in the middle of the next block
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    finished = [cell.l0 for cell in job.cells if (folder / inner / cell.folder / "sae" / "ae.pt").exists()]
    require(not finished, "the job was done, or had failed, before it could be killed: see the step's log")
    stopped = [state["step"] for state in map(checkpoints.load, states) if state]
    steps = kit.config.training.steps
    going_on = len(stopped) == len(states) and all(0 < step < steps for step in stopped)
    require(going_on, f"killed with checkpoints at steps {stopped} of {steps}: nothing to go on from")
    require(start(kit, often, folder).wait() == 0, "started again, the job failed: see the step's log")
    for cell in job.cells:
        files = [root / inner / cell.folder / "sae" / "ae.pt" for root in (Path(), folder)]
        if sha256(files[0]) != sha256(files[1]):
            whole, resumed = (torch.load(file, map_location="cpu") for file in files)
            apart = {key: (whole[key].float() - resumed[key].float()).abs().max().item() for key in whole}
            raise Wrong(f"l0 {cell.l0}: other bits than without the interruption; largest differences: {apart}")
    words = f"killed, went on from step {min(stopped)} of {steps}: all {len(job.cells)} SAEs have the same bytes"
    return Found(words, {"from_step": stopped})


def start(kit: Kit, step: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        str(Path(__file__).absolute().with_name("steps.py")),
        step,
        *(["--small"] if kit.small else []),
    ]
    return subprocess.Popen(command, cwd=folder)
