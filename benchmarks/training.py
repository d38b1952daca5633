"""Our job of several l0s beside dictionary_learning's own way, on the same model, text and number of activations.

    make demo
    HF_HUB_OFFLINE=1 .venv/bin/python benchmarks/training.py --repeats 3

"stock" is `trainSAE` on `ActivationBuffer`: once with all SAEs together, and once a run for each SAE, as a grid of
independent jobs would do it. One thread, one process, in turns; seconds, and ratios of neighbouring runs.
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
OF_THE_DEMO = {"l0": list(L0S), "l0_sets": [list(L0S)], "training": {"tokens": TOKENS}}

RESULTS = Path("results/demo")
WORLD, MODEL_FILE, MANIFEST = (
    RESULTS / "world",
    RESULTS / MODEL / "model.json",
    RESULTS / MODEL / "tokens/manifest.json",
)


def ours(config: Configuration, job: TrainingJob, settings: TrainJobSettings) -> None:
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
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    config = configuration(OF_THE_DEMO)
    job = training_job(config)
    settings = train_settings(config, job)
    ways = {
        "ours, one job": lambda: ours(config, job, settings),
        "stock, together": lambda: stock(job, settings, L0S),
        "stock, one by one": lambda: [stock(job, settings, (l0,)) for l0 in L0S],
    }
    times = {name: [] for name in ways}
    for number in range(repeats + 1):  # the first round warms up
        for name, run in ways.items():
            took = seconds(run)
            if number:
                times[name].append(took)
    print(f"{len(job.cells)} SAEs, {TOKENS:,} activations each, n = {repeats}\n")
    print("| | seconds: median | min | max | times ours: median | min | max |")
    print("|---|---|---|---|---|---|---|")
    for name, took in times.items():
        ratios = [one / other for one, other in zip(took, times["ours, one job"], strict=True)]
        cells = [f"{pick(values):.2f}" for values in (took, ratios) for pick in (statistics.median, min, max)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
