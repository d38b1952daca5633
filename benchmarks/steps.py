"""A training step of our own (training.step: fast) beside dictionary_learning's, on the same batches of one process.

    .venv/bin/python benchmarks/steps.py kinds    # every trainer, at the demo's shape and at Pythia-160M's
    .venv/bin/python benchmarks/steps.py latents  # from 4,096 to 65,536 latents at Pythia's width, with peak memory

Batches are sums of random directions. Both take each batch in turn; milliseconds, and ratios of neighbouring steps.
"""

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskedsae.saes.settings import FAST_KINDS
from maskedsae.saes.steps import fast, stock
from maskedsae.saes.trainers.base import trainer_kind

DIRECTIONS, SHARE = 2000, 0.01  # of the data; the share of them that a row has
LR = 3e-4
GROUPS = [0.03125, 0.0625, 0.125, 0.25, 0.53125]


@dataclass(frozen=True)
class Shape:
    name: str
    width: int
    latents: int
    batch: int
    l0s: tuple[int, ...]
    steps: int


SHAPES = (
    Shape("demo", 96, 384, 512, (8, 20), 200),
    Shape("Pythia-160M", 768, 4096, 2048, (20, 40, 80, 160), 12),
)
GROWTH = (4096, 16384, 65536)
UNTIMED = 3


def trainer_of(kind: str, shape: Shape, l0: int, **more: Any) -> Any:
    own = {"group_fractions": GROUPS} if kind == "matryoshka_batch_topk" else {}
    given = {"steps": 10**6, "activation_dim": shape.width, "dict_size": shape.latents, "k": l0, "layer": 1}
    return trainer_kind(kind).make(**given, **own, **more, lm_name="none", lr=LR, seed=0, device="cpu")


def batches(shape: Shape, count: int) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(DIRECTIONS, shape.width, generator=generator)
    for _ in range(count):
        has = torch.rand(shape.batch, DIRECTIONS, generator=generator) < SHARE
        amounts = has * torch.rand(shape.batch, DIRECTIONS, generator=generator)
        yield amounts @ directions / shape.width**0.5


def times(kind: str, shape: Shape, l0: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each step: dictionary_learning's, and ours."""
    form = trainer_kind(kind).form
    assert form is not None
    ways = [way.steps_of([trainer_of(kind, shape, l0)], [form], torch.float32, "cpu") for way in (stock, fast)]
    took: tuple[list[float], list[float]] = ([], [])
    for number, x in enumerate(batches(shape, UNTIMED + shape.steps)):
        for way, found in zip(ways, took, strict=True):
            began = time.perf_counter()
            way(number, x)
            if number >= UNTIMED:
                found.append(1000 * (time.perf_counter() - began))
    return took


def row(names: list[str], theirs: list[float], ours: list[float]) -> str:
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    spread = f"{statistics.median(ratios):.2f} ({quantile(ratios, 0.05):.2f} to {quantile(ratios, 0.95):.2f})"
    return f"| {' | '.join(names)} | {statistics.median(theirs):.1f} | {statistics.median(ours):.1f} | {spread} |"


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


def kinds() -> None:
    print("| shape | trainer | l0 | stock, ms | ours, ms | ratio: median (5% to 95% of steps) |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        for kind in FAST_KINDS:
            for l0 in shape.l0s:
                print(row([shape.name, kind, str(l0)], *times(kind, shape, l0)), flush=True)


def most_memory() -> int:
    """Of this process so far, in kB. (`getrusage` also counts what its parent had when it was started.)"""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def peak_of(way: str, shape: Shape, l0: int, to: Any) -> None:
    """In a process of its own: the most memory that it took beyond what it had before the trainer."""
    torch.set_num_threads(1)
    x = next(batches(shape, 1))
    before = most_memory()
    form = trainer_kind(FAST_KINDS[0]).form
    steps = {"stock": stock, "fast": fast}[way].steps_of(
        [trainer_of(FAST_KINDS[0], shape, l0)], [form], torch.float32, "cpu"
    )
    for number in range(2):
        steps(number, x)
    to.put((most_memory() - before) / 1e6)


def peak(way: str, shape: Shape, l0: int) -> float:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=peak_of, args=(way, shape, l0, queue))
    process.start()
    gigabytes: float = queue.get()
    process.join()
    return gigabytes


def latents() -> None:
    print("| latents | stock, ms | ours, ms | ratio: median (5% to 95% of steps) | stock, GB | ours, GB |")
    print("|---|---|---|---|---|---|")
    for count in GROWTH:
        shape = Shape("", 768, count, 2048, (80,), max(3, 12 * GROWTH[0] // count))
        line = row([f"{count:,}"], *times(FAST_KINDS[0], shape, 80))
        print(f"{line} {peak('stock', shape, 80):.2f} | {peak('fast', shape, 80):.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kinds", "latents"))
    torch.set_num_threads(1)
    {"kinds": kinds, "latents": latents}[parser.parse_args().what]()


if __name__ == "__main__":
    main()
