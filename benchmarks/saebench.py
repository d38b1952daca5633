"""Scoring several SAEs of one model: our jobs beside SAEBench's own run_all_evals_dictionary_learning_saes.

    PYTHONPATH=scripts HF_HUB_OFFLINE=1 python benchmarks/saebench.py --shape wide --repeats 2

after what README.md says. "ours" is what the rules do: a process of `make_shared`, then a process of `score` for each
SAE. "SAEBench" is one process of its `run_evals` over all SAEs (saebench_flow.py). Same model, SAEs, texts and
settings, one thread, by turns; imports, loading and all files included.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL, STREAM, TRAINER = "pythia-demo", "clean", "matryoshka_batch_topk"
OVERLAYS = {"demo": ["profiles/demo/demo.yaml"], "wide": ["profiles/demo/demo.yaml", "benchmarks/wide.yaml"]}
EVALS = ("absorption", "core", "sparse_probing", "tpp", "scr")
WAYS = ("ours", "SAEBench")


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


class Spans:
    """Seconds of what is timed: of one part, for one SAE (None: for all)."""

    def __init__(self):
        self.found: list[dict] = []

    @contextmanager
    def of(self, part: str, sae: str | None):
        began, spent = time.perf_counter(), cpu_seconds()
        yield
        wall, cpu = time.perf_counter() - began, cpu_seconds() - spent
        self.found.append({"part": part, "sae": sae, "wall": wall, "cpu": cpu})

    def around(self, function: Callable, part_of: Callable[..., tuple[str, str | None]]) -> Callable:
        @wraps(function)
        def timed(*arguments, **options):
            with self.of(*part_of(*arguments, **options)):
                return function(*arguments, **options)

        return timed


def ours(folder: Path, sae: str | None, given: dict) -> list[dict]:
    """In a process of its own: the job of the model, or of one SAE."""
    from maskedsae.scores.saebench import scoring, shared

    spans, data = Spans(), Path(given["data"])
    for module in (scoring, shared):
        module.run_child = spans.around(module.run_child, lambda _, __, what, ___: (what.rsplit(": ")[-1], sae))
    if sae is None:
        shared.make_shared(folder / "model", given["facts"], given["model_settings"], data, "cpu", 1)
    else:
        cell = folder / sae
        cell.mkdir(parents=True)
        (cell / "sae").symlink_to(given["saes"][sae])
        scoring.score(cell, "sae", given["facts"], given["settings"], folder / "model", data, "cpu", 1)
    return spans.found


def given_to_both(shape: str) -> dict:
    import yaml
    from snakemake.utils import update_config

    from maskedsae.experiment import grid

    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for overlay in OVERLAYS[shape]:
        update_config(config, yaml.safe_load((ROOT / overlay).read_text()))
    results = ROOT / "results" / config["run"]
    cells = [f"{STREAM}/{TRAINER}/l0_{l0}/seed_0" for l0 in config["l0"]]
    facts = json.loads((results / MODEL / "model.json").read_text())
    return {
        "facts": facts | {"path": str(ROOT / facts["path"])},
        "settings": grid.saebench_settings(config, MODEL),
        "model_settings": grid.saebench_model_settings(config, MODEL),
        "data": str(results / "saebench/data"),
        "saes": {cell: str(results / MODEL / cell / "sae") for cell in cells},
    }


def process(way: str, folder: Path, sae: str | None, given: Path) -> list[dict]:
    """One process as a user starts it; its spans, and the whole."""
    spans, told = folder / "spans.json", Spans()
    environment = {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(folder / "datasets"), "TQDM_MININTERVAL": "10"}
    command = [sys.executable, __file__, "--one", way, str(folder), sae or "", str(given)]
    with told.of("all", sae), open(folder / "said.txt", "a") as said:
        done = subprocess.run(command, env=os.environ | environment, stdout=said, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{way} failed: see {folder}/said.txt")
    return told.found + json.loads(spans.read_text())


def one(way: str, folder: Path, sae: str | None, given: dict) -> None:
    if way == "ours":
        found = ours(folder, sae, given)
    else:
        from saebench_flow import run_all

        found = run_all(folder, given, Spans())
    (folder / "spans.json").write_text(json.dumps(found))


def measured(repeats: int, given: Path, saes: list[str]) -> dict[str, list[list[dict]]]:
    runs = {way: [] for way in WAYS}
    for number in range(repeats):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            folder = Path(tempfile.mkdtemp())
            spans = []
            for sae in [None, *saes] if way == "ours" else [None]:
                spans += process(way, folder, sae, given)
            runs[way].append(spans)
            given.with_name("runs.json").write_text(json.dumps(runs))
            print(
                f"{number} {way}: {sum(span['cpu'] for span in spans if span['part'] == 'all'):.1f} CPU s", flush=True
            )
    return runs


def summary(spans: list[dict], way: str, kind: str, saes: list[str]) -> dict[str, float]:
    """Seconds: of each eval for an SAE that finds caches, of such an SAE in all, and of all SAEs from nothing."""
    warm = saes if way == "ours" else saes[1:]  # its first SAE fills the caches that the others find
    found = {}
    for name in EVALS:
        found[name] = statistics.mean(s[kind] for s in spans if s["part"] == name and s["sae"] in warm)
    found["the five"] = sum(found.values())
    if way == "ours":
        found["one more SAE"] = statistics.mean(s[kind] for s in spans if s["part"] == "all" and s["sae"])
    else:
        found["one more SAE"] = found["the five"]
    found["imports and the rest"] = found["one more SAE"] - found["the five"]
    found["all from nothing"] = sum(s[kind] for s in spans if s["part"] == "all")
    return found


def table(runs: dict[str, list[list[dict]]], kind: str, saes: list[str]) -> str:
    rows = {way: [summary(spans, way, kind, saes) for spans in found] for way, found in runs.items()}
    lines = [f"| {kind} seconds | ours: median (min, max) | SAEBench | ratio of neighbours |", "|---|---|---|---|"]
    for name in (*EVALS, "the five", "imports and the rest", "one more SAE", "all from nothing"):
        ours_, theirs = ([row[name] for row in rows[way]] for way in WAYS)
        ratios = [a / b for a, b in zip(ours_, theirs, strict=True)] if all(theirs) else []
        lines.append(f"| {name} | {spread(ours_)} | {spread(theirs)} | {spread(ratios) if ratios else ''} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}, {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=OVERLAYS, default="demo")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        way, folder, sae, given = arguments.one
        one(way, Path(folder), sae or None, json.loads(Path(given).read_text()))
        return
    given = Path(tempfile.mkdtemp()) / "given.json"
    both = given_to_both(arguments.shape)
    given.write_text(json.dumps(both))
    saes = list(both["saes"])
    runs = measured(arguments.repeats, given, saes)
    print(f"{arguments.shape}: {len(saes)} SAEs, n = {arguments.repeats}\n")
    for kind in ("cpu", "wall"):
        print(table(runs, kind, saes) + "\n")


if __name__ == "__main__":
    main()
