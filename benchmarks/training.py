"""Our job of several SAEs beside dictionary_learning's own way, on the same model, text and number of activations.

    make demo
    HF_HUB_OFFLINE=1 .venv/bin/python benchmarks/training.py --repeats 3
    HF_HUB_OFFLINE=1 .venv/bin/python benchmarks/training.py --growth

Ours is one job, with each `training.step`. "trainSAE" is dictionary_learning's on its `ActivationBuffer`: once with all
SAEs together, and once a run for each SAE, as a grid of independent jobs would do it. One thread, one process, in
turns; seconds, and ratios of neighbouring runs. `--growth` is our job with 1 to 32 SAEs (l0s and seeds) of one stream.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from demo_run import MODEL, configuration, link_results, training_job
from dictionary_learning.buffer import ActivationBuffer
from dictionary_learning.training import trainSAE
from nnsight import LanguageModel

from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.grid import TrainingJob
from maskedsae.experiment.settings import train_settings
from maskedsae.saes.settings import TrainJobSettings
from maskedsae.saes.trainers.base import trainer_arguments, trainer_kind
from maskedsae.saes.training import train_job

L0S = (8, 12, 20, 40)
TOKENS = 150_000
GROWTH = (1, 2, 4, 8, 16, 32)


def of_the_demo(step: str, l0s: tuple[int, ...] = L0S, seeds: int = 1) -> Configuration:
    shared = {"l0": list(l0s), "l0_sets": [list(l0s)], "seeds": list(range(seeds)), "seeds_per_stream": seeds}
    return configuration(shared | {"training": {"tokens": TOKENS, "step": step}})


RESULTS = Path("results/demo")
WORLD, MODEL_FILE, MANIFEST = (
    RESULTS / "world",
    RESULTS / MODEL / "model.json",
    RESULTS / MODEL / "tokens/manifest.json",
)


def ours(config: Configuration) -> None:
    job = training_job(config)
    settings = train_settings(config, job)
    compute = replace(config.compute, threads=1, checkpoint_minutes=60, log_every=100)
    with tempfile.TemporaryDirectory() as folder:
        link_results(Path(folder), WORLD, MODEL_FILE, MANIFEST.parent)
        with chdir(folder):
            train_job(job.files(), settings, MODEL_FILE, MANIFEST, compute)


def stock(job: TrainingJob, settings: TrainJobSettings, l0s: tuple[int, ...]) -> None:
    training, facts = settings.training, SimpleNamespace(**json.loads(MODEL_FILE.read_text()))
    model = LanguageModel(facts.path, device_map="cpu", dispatch=True)
    own = settings.for_cell(job.cells[0].trainer, job.cells[0].seed)
    trainer = {"trainer": trainer_kind(own.trainer.kind).make}
    with tempfile.TemporaryDirectory() as folder, (WORLD / "corpus.jsonl").open() as lines:
        buffer = ActivationBuffer(
            (json.loads(line)["text"] for line in lines),
            model,
            model.gpt_neox.layers[facts.layer],
            d_submodule=facts.width,
            n_ctxs=training.shuffle_tokens // 128,
            ctx_len=128,
            refresh_batch_size=settings.model.lm_batch,
            out_batch_size=training.batch,
            device="cpu",
        )
        configs = [trainer | trainer_arguments(own, l0, facts, "cpu") for l0 in l0s]
        trainSAE(data=buffer, trainer_configs=configs, steps=training.steps, device="cpu", save_dir=folder)


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--growth", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.growth:
        growth()
    else:
        compare(given.repeats)


def compare(repeats: int) -> None:
    fast, same = of_the_demo("fast"), of_the_demo("stock")
    job = training_job(same)
    settings = train_settings(same, job)
    ways = {
        "ours, one job, step: fast": lambda: ours(fast),
        "ours, one job, step: stock": lambda: ours(same),
        "trainSAE, together": lambda: stock(job, settings, L0S),
        "trainSAE, one by one": lambda: [stock(job, settings, (l0,)) for l0 in L0S],
    }
    times = {name: [] for name in ways}
    for number in range(repeats + 1):  # the first round warms up
        for name, run in ways.items():
            took = seconds(run)
            if number:
                times[name].append(took)
    print(f"{len(job.cells)} SAEs, {TOKENS:,} activations each, n = {repeats}\n")
    print("| | seconds: median | min | max | times the first: median | min | max |")
    print("|---|---|---|---|---|---|---|")
    for name, took in times.items():
        ratios = [one / other for one, other in zip(took, times[next(iter(ways))], strict=True)]
        cells = [f"{pick(values):.2f}" for values in (took, ratios) for pick in (statistics.median, min, max)]
        print(f"| {name} | {' | '.join(cells)} |")


def growth() -> None:
    """Seconds of one job by its number of SAEs."""
    print("| SAEs in the job | step: fast, s | s an SAE | step: stock, s | s an SAE |\n|---|---|---|---|---|")
    seconds(partial(ours, of_the_demo("fast", L0S[:1])))  # warms up
    for count in GROWTH:
        l0s, seeds = L0S[: min(count, len(L0S))], max(1, count // len(L0S))
        took = [seconds(partial(ours, of_the_demo(step, l0s, seeds))) for step in ("fast", "stock")]
        print(f"| {count} | " + " | ".join(f"{each:.1f} | {each / count:.2f}" for each in took) + " |", flush=True)


if __name__ == "__main__":
    main()
