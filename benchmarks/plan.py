"""How long the plan (`snakemake -n grid plan`) of 1,000 and of 10,000 cells takes.

    .venv/bin/python benchmarks/plan.py [--repeats 3]

Each measurement is a process of its own, in an empty folder. The paper's configuration with more of each list: in one
job are the five l0s (`sets`), one SAE (`alone`), or the l0s of four trainers and two seeds (`shared`).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
STREAMS = [{"name": "clean"}, *({"name": f"mask{p}", "p": p / 100} for p in (20, 30, 40, 50))]
TRAINERS = ["matryoshka_batch_topk", "batch_topk", "topk", "jumprelu"]
L0S = [20, 40, 80, 160, 320]
WAYS = {
    "sets": {"l0_sets": [L0S]},
    "alone": {"l0_sets": []},
    "shared": {"l0_sets": [L0S], "trainer_sets": [TRAINERS], "seeds_per_stream": 2},
}


def overlay(cells: int, way: str) -> dict:
    """Two models, as in the paper, and as many seeds as it takes."""
    each = 2 * len(STREAMS) * len(TRAINERS) * len(L0S)
    grid = {"streams": STREAMS, "trainers": TRAINERS, "l0": L0S, "seeds": list(range(cells // each))}
    return {"run": "planned", **grid, **WAYS[way]}


def planned(cells: int, way: str) -> tuple[float, float]:
    """Seconds, and CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "overlay.yaml")
        file.write_text(yaml.safe_dump(overlay(cells, way)))
        command = [sys.executable, "-m", "snakemake", "--profile", str(ROOT / "profiles/local"), "-s", "Snakefile"]
        for name in ("Snakefile", "rules", "scripts", "schemas", "reference", "report", "envs", "config.yaml"):
            Path(folder, name).symlink_to(ROOT / name)
        before, start = os.times(), time.monotonic()
        command += ["-n", "grid", "plan", "--configfile", str(file)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds, after = time.monotonic() - start, os.times()
    if f"the steps of {cells} SAEs" not in done.stdout:
        sys.exit(f"not the plan of {cells} SAEs:\n{done.stderr[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(f"snakemake {version('snakemake')}, Python {sys.version.split()[0]}, n = {repeats}: median (min, max)\n")
    print("| cells | in one job | seconds | CPU seconds |\n|---|---|---|---|")
    for cells in (1_000, 10_000):
        for way in WAYS:
            found = zip(*(planned(cells, way) for _ in range(repeats)), strict=True)
            columns = [f"{statistics.median(v):.1f} ({min(v):.1f}, {max(v):.1f})" for v in found]
            print(f"| {cells:,} | {way} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
