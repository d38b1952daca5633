"""Scoring several SAEs of one model: our jobs beside SAEBench's own run_all_evals_dictionary_learning_saes.

    HF_HUB_OFFLINE=1 .venv/bin/python benchmarks/saebench.py --shape wide --repeats 2

after what README.md says. "ours" is what the rules do: a process of `make_shared`, then a process of `score_cell` for
each SAE. "SAEBench" is one process of its `run_evals` over all SAEs (saebench_flow.py). Same model, SAEs, texts and
settings, one thread, by turns; imports, loading and all files included.
"""

import argparse
import json
import os
import pickle
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

# Light ones only: these imports are in the time of every process that is measured.
from maskedsae.saes.cells import Cell
from maskedsae.scores.saebench.names import EVALS
from maskedsae.scores.saebench.settings import Scoring, Sharing

OVERLAYS = {"demo": [], "wide": ["benchmarks/wide.yaml"]}
WAYS = ("ours", "SAEBench")


@dataclass(frozen=True)
class Given:
    """What both are given. Paths are relative to a folder that is a measured run's own, where links lead to files."""

    scoring: Scoring
    sharing: Sharing
    compute: Any  # how our jobs compute
    model: Path  # its folder in the results
    data: Path  # the texts' manifest
    saes: dict[str, Cell]  # by name


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


class Spans:
    """Seconds of what is timed: of one part, for one SAE (None: for all)."""

    def __init__(self):
        self.found: list[dict] = []

    @contextmanager
    def timing(self, part: str, sae: str | None) -> Iterator[None]:
        began, spent = time.perf_counter(), cpu_seconds()
        yield
        wall, cpu = time.perf_counter() - began, cpu_seconds() - spent
        self.found.append({"part": part, "sae": sae, "wall": wall, "cpu": cpu})

    def around(self, function: Callable, part_of: Callable[..., tuple[str, str | None]]) -> Callable:
        @wraps(function)
        def timed(*arguments, **options):
            with self.timing(*part_of(*arguments, **options)):
                return function(*arguments, **options)

        return timed


def ours(given: Given, sae: str | None) -> list[dict]:
    """In a process of its own: the job of the model, or of one SAE."""
    from maskedsae.scores.saebench import scoring, shared

    spans = Spans()
    for module in (scoring, shared):
        module.run_child = spans.around(module.run_child, lambda _, __, what, ___: (what.rsplit(": ")[-1], sae))
    manifest, facts = given.model / "saebench/manifest.json", given.model / "model.json"
    if sae is None:
        shared.make_shared(manifest, facts, given.sharing, given.data, given.compute)
    else:
        output = given.saes[sae].folder / "scores/absorption.json"
        scoring.score_cell(output, facts, given.scoring, manifest, given.data, given.compute)
    return spans.found


def given_to_both(shape: str) -> Given:
    from demo_run import MODEL, configuration, overlay, training_job

    from maskedsae.experiment import settings

    config = configuration(*map(overlay, OVERLAYS[shape]))
    results = Path("results", config.run)
    return Given(
        scoring=settings.scoring(config, MODEL),
        sharing=settings.sharing(config, MODEL),
        compute=replace(config.compute, device="cpu", threads=1),
        model=results / MODEL,
        data=results / "saebench/data/manifest.json",
        saes={cell.name: cell for cell in training_job(config).cells},
    )


def folder_of_a_run(given: Given) -> Path:
    from demo_run import link_results

    folder = Path(tempfile.mkdtemp(prefix="saebench-"))
    saes = (cell.folder / "sae" for cell in given.saes.values())
    link_results(folder, given.model.parent / "world", given.model / "model.json", given.data.parent, *saes)
    (folder / "given.pickle").write_bytes(pickle.dumps(given))
    return folder


def process(way: str, folder: Path, sae: str | None) -> list[dict]:
    """One process as a user starts it; its spans, and the whole."""
    whole, output = Spans(), folder / "output.txt"
    environment = {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(folder / "datasets"), "TQDM_MININTERVAL": "10"}
    command = [sys.executable, __file__, "--one", way, sae or ""]
    with whole.timing("all", sae), output.open("a") as file:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | environment, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        sys.exit(f"{way} failed (exit code {done.returncode}): see {output}")
    return whole.found + json.loads((folder / "spans.json").read_text())


def one(way: str, sae: str | None) -> None:
    """What such a process does, in the run's folder."""
    given = pickle.loads(Path("given.pickle").read_bytes())
    if way == "ours":
        found = ours(given, sae)
    else:
        from saebench_flow import run_all

        found = run_all(given, Spans())
    Path("spans.json").write_text(json.dumps(found))


def measured(repeats: int, given: Given) -> dict[str, list[list[dict]]]:
    runs, kept = {way: [] for way in WAYS}, Path(tempfile.mkdtemp(prefix="saebench-")) / "runs.json"
    print(f"what was measured, run by run: {kept}", flush=True)
    for number in range(repeats):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            folder, spans = folder_of_a_run(given), []
            for sae in [None, *given.saes] if way == "ours" else [None]:
                spans += process(way, folder, sae)
            shutil.rmtree(folder)
            runs[way].append(spans)
            kept.write_text(json.dumps(runs))
            spent = sum(span["cpu"] for span in spans if span["part"] == "all")
            print(f"{number} {way}: {spent:.1f} CPU s", flush=True)
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
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        way, sae = arguments.one
        one(way, sae or None)
        return
    given = given_to_both(arguments.shape)
    saes = list(given.saes)
    runs = measured(arguments.repeats, given)
    print(f"{arguments.shape}: {len(saes)} SAEs, n = {arguments.repeats}\n")
    for kind in ("cpu", "wall"):
        print(table(runs, kind, saes) + "\n")


if __name__ == "__main__":
    main()
