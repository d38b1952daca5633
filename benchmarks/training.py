"""Our job of an l0 set beside dictionary_learning's own way, on the same model, text and number of activations.

    make demo
    PYTHONPATH=scripts HF_HUB_OFFLINE=1 python benchmarks/training.py --repeats 3

"stock" is `trainSAE` on `ActivationBuffer`: once with all SAEs together, and once a run for each SAE, as a grid of
independent jobs would do it. One thread, one process, in turns; seconds, and ratios of neighbouring runs.
"""

import argparse
import io
import json
import shutil
import statistics
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from pathlib import Path

import torch
import yaml
from dictionary_learning.buffer import ActivationBuffer
from dictionary_learning.training import trainSAE
from nnsight import LanguageModel
from snakemake.utils import update_config

from maskedsae.experiment import grid
from maskedsae.jobs.files import read_json
from maskedsae.saes.trainers import TRAINERS, trainer_arguments
from maskedsae.saes.training import train_set

ROOT = Path(__file__).parents[1]
L0S = (8, 12, 20, 40)
MODEL = "pythia-demo"
TOKENS = 150_000


def settings_of_the_demo() -> dict:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, yaml.safe_load((ROOT / "profiles/demo/demo.yaml").read_text()))
    settings = grid.train_settings(config, grid.l0_sets(config, needed=True)[0])
    settings["training"] |= {"tokens": TOKENS}
    return settings


def ours(settings: dict, facts: dict) -> None:
    folder = Path(tempfile.mkdtemp())
    compute = {"device": "cpu", "threads": 1, "checkpoint_minutes": 60, "log_every": 100}
    tokens = ROOT / "results/demo" / MODEL / "tokens"
    train_set({l0: folder / f"l0_{l0}" for l0 in L0S}, deepcopy(settings), facts, tokens, compute)
    shutil.rmtree(folder)


def stock(settings: dict, facts: dict, l0s: tuple[int, ...]) -> None:
    training = settings["training"]
    model = LanguageModel(facts["path"], device_map="cpu", dispatch=True)
    texts = (json.loads(line)["text"] for line in (ROOT / "results/demo/world/corpus.jsonl").open())
    buffer = ActivationBuffer(
        texts,
        model,
        model.gpt_neox.layers[facts["layer"]],
        d_submodule=facts["width"],
        n_ctxs=training["shuffle_tokens"] // 128,
        ctx_len=128,
        refresh_batch_size=settings["model"]["lm_batch"],
        out_batch_size=training["batch"],
        device="cpu",
    )
    steps = training["tokens"] // training["batch"]
    own = settings["trainer_settings"] | {"dict_size": training["dict_size"]}
    place = {"width": facts["width"], "layer": facts["layer"], "lm_name": MODEL, "device": "cpu"}
    configs = [
        {"trainer": TRAINERS["matryoshka_batch_topk"]}
        | trainer_arguments("matryoshka_batch_topk", own, l0=l0, steps=steps, seed=0, **place)
        for l0 in l0s
    ]
    trainSAE(data=buffer, trainer_configs=configs, steps=steps, device="cpu", save_dir=tempfile.mkdtemp())


def seconds(run) -> float:
    began = time.perf_counter()
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    settings, facts = settings_of_the_demo(), read_json(ROOT / "results/demo" / MODEL / "model.json")
    ways = {
        "ours, one job": lambda: ours(settings, facts),
        "stock, together": lambda: stock(settings, facts, L0S),
        "stock, one by one": lambda: [stock(settings, facts, (l0,)) for l0 in L0S],
    }
    times = {name: [] for name in ways}
    for number in range(repeats + 1):  # the first round warms up
        for name, run in ways.items():
            took = seconds(run)
            if number:
                times[name].append(took)
    print(f"{len(L0S)} SAEs, {TOKENS:,} activations each, n = {repeats}\n")
    print("| | seconds: median | min | max | times ours: median | min | max |")
    print("|---|---|---|---|---|---|---|")
    for name, took in times.items():
        ratios = [one / other for one, other in zip(took, times["ours, one job"], strict=True)]
        cells = [f"{pick(values):.2f}" for values in (took, ratios) for pick in (statistics.median, min, max)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
