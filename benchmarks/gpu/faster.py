"""Our step on a GPU: agreement with dictionary_learning's, bits, milliseconds, and how far from the floor it is."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from device import on_gpu, peak_gigabytes, reset_peak, timed
from given import Found, Kit, require
from training import LOSS_TOLERANCE, losses_on, normalised, stream_of

from maskedsae.activations.settings import ModelFacts
from maskedsae.saes.settings import TrainSettings
from maskedsae.saes.steps import fast, stock
from maskedsae.saes.trainers.base import make_trainer, trainer_kind

AGREEING_STEPS = 10
COUNTS = {False: (1, 4, 8, 32), True: (1, 4)}  # SAEs at a time; on a CPU, at small size
TIMED, UNTIMED, REPEATS = 30, 5, 3
SIZES = {False: (8192, 2**30), True: (256, 2**22)}  # of the products and copies that measure the card


@dataclass(frozen=True)
class Shape:
    """What a step of an SAE must do at least, whoever computes it."""

    batch: int
    width: int
    latents: int

    @property
    def flop(self) -> float:
        """The encoder's product; the others can skip what is not active."""
        return 2.0 * self.batch * self.width * self.latents

    @property
    def bytes(self) -> float:
        """Weights and Adam's two moments are read and written, gradients are written and read, in float32; latents are
        written and read once."""
        return 4.0 * (8 * 2 * self.width * self.latents + 2 * self.batch * self.latents)


def trainers_of(settings: TrainSettings, l0s: list[int], facts: ModelFacts, device: str) -> list[Any]:
    """With all latents dead until they fire, so that the auxiliary loss is in the time, as in most of a long run."""
    made = [make_trainer(settings, l0, facts, device) for l0 in l0s]
    for trainer in made:
        trainer.num_tokens_since_fired.fill_(trainer.dead_feature_threshold)
    return made


def steps(kit: Kit, name: str) -> Found:
    settings = kit.training(name)
    data = stream_of(kit, name, settings)
    cell = kit.job(name).cells[0]
    own, facts = settings.for_cell(cell.trainer, cell.seed), data.model.facts
    form = trainer_kind(own.trainer.kind).form
    assert form is not None
    dtype, device = getattr(torch, settings.training.autocast), kit.device
    _, _, batches = next(data.blocks())
    batches = [normalised(batch, dtype) for batch in batches[: max(AGREEING_STEPS, 8)]]

    def milliseconds(take: Any) -> list[float]:
        """Of a step, several times."""
        for number in range(UNTIMED):
            take(1 + number, batches[number % len(batches)])
        take.losses()
        found = []
        for _ in range(REPEATS):
            with timed(device) as seconds:
                for number in range(TIMED):
                    take(1 + UNTIMED + number, batches[number % len(batches)])
                take.losses()
            found.append(1000 * seconds.value / TIMED)
        return found

    apart = agreement(own, facts, [batch.float() for batch in batches[:AGREEING_STEPS]], device)
    alone_is_as_with_siblings(own, facts, form, batches, dtype, device, kit.config.l0)
    rates = card(kit, dtype)
    one = milliseconds(stock.steps_of(trainers_of(own, [kit.config.l0[0]], facts, device), [form], dtype, device))
    ours, memory = {}, {}
    for count in COUNTS[kit.small]:
        reset_peak(device)
        l0s = [kit.config.l0[number % len(kit.config.l0)] for number in range(count)]
        ours[count] = milliseconds(fast.steps_of(trainers_of(own, l0s, facts, device), [form] * count, dtype, device))
        memory[count] = peak_gigabytes(device)
    entry, batch = kit.config.model(name), settings.training.batch
    stream = json.loads(Path("steps", f"stream_{name}.json").read_text())["numbers"]
    forward = 1000 * batch / stream["tokens_per_second"]
    shape = Shape(batch, facts.width, own.trainer.dict_size)
    assert entry.gflop is not None
    floor_sae = shape.flop / rates[settings.training.autocast] * 1000 + shape.bytes / rates["bytes"] * 1000
    floor_forward = batch * entry.gflop * 1e9 / rates[entry.dtype] * 1000
    by_count = {}
    for count, times in ours.items():
        median = statistics.median(times)
        whole, one_by_one = forward + median, count * (forward + statistics.median(one))
        by_count[count] = {
            "step_ms": times,
            "gigabytes": memory[count],
            "of_stock_one_by_one": whole / one_by_one,
            "floor_share": (floor_forward + count * floor_sae) / whole,
        }
    words = f"stock {statistics.median(one):.3g} ms a step; ours "
    words += ", ".join(f"{count}: {statistics.median(times):.3g} ms" for count, times in ours.items())
    words += "; with the stream, of stock one by one "
    words += ", ".join(f"{count}: {row['of_stock_one_by_one']:.2f}" for count, row in by_count.items())
    words += f"; {by_count[COUNTS[kit.small][1]]['floor_share']:.0%} of the floor with {COUNTS[kit.small][1]}"
    numbers = {"agreement": apart, "stock_ms": one, "ours": by_count, "forward_ms": forward, "card": rates}
    numbers |= {"floor_ms": {"forward": floor_forward, "sae": floor_sae}, "dtype": entry.dtype}
    step_ms = {"stock": statistics.median(one), "fast": statistics.median(ours[4]) / 4}
    return Found(words, numbers | {"step_ms": step_ms})


def agreement(own: TrainSettings, facts: ModelFacts, batches: list[torch.Tensor], device: str) -> float:
    """How far losses of a few steps in float32 are from dictionary_learning's on the same device, at most."""
    losses = [losses_on(own, 20, facts, batches, device, way) for way in (fast, stock)]
    apart = max(abs(here - there) / abs(there) for here, there in zip(*losses, strict=True))
    require(apart <= LOSS_TOLERANCE, f"a loss is {apart:.2g} of its size away from stock's: {losses}")
    return float(apart)


def alone_is_as_with_siblings(
    own: TrainSettings,
    facts: ModelFacts,
    form: Any,
    batches: list[torch.Tensor],
    dtype: torch.dtype,
    device: str,
    l0s: tuple[int, ...],
) -> None:
    ended = []
    for group in ((l0s[0],), l0s):
        trainers = trainers_of(own, list(group), facts, device)
        take = fast.steps_of(trainers, [form] * len(group), dtype, device)
        for number in range(20):
            take(number, batches[number % len(batches)])
        take.losses()
        ended.append(trainers[0].ae.state_dict())
    alone, beside = ended
    other = [key for key in alone if not torch.equal(alone[key], beside[key])]
    require(not other, f"an SAE has other bits beside others than alone: {other}")


def card(kit: Kit, dtype: torch.dtype) -> dict[str, float]:
    """What the device does at best: FLOP/s of a large product by number format, and bytes/s of a copy."""
    size, length = SIZES[kit.small]
    found: dict[str, float] = {}
    for each in {torch.float32, dtype, torch.bfloat16 if on_gpu(kit.device) else torch.float32}:
        left = torch.randn(size, size, device=kit.device).to(each)
        seconds = best(kit.device, lambda left=left: left @ left)
        found[str(each).removeprefix("torch.")] = 2.0 * size**3 / seconds
    source = torch.empty(length, dtype=torch.uint8, device=kit.device)
    to = torch.empty_like(source)
    found["bytes"] = 2.0 * length / best(kit.device, lambda: to.copy_(source))
    return found


def best(device: str, run: Any) -> float:
    run()
    seconds = []
    for _ in range(10):
        with timed(device) as one:
            run()
        seconds.append(one.value)
    return min(seconds)
