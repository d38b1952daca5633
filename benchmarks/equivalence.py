"""Whole trainings with the step of our own beside stock's: are they the same but for chance?

    for step in stock fast; do
        .venv/bin/snakemake --profile profiles/demo --configfile profiles/demo/demo.yaml benchmarks/equivalence.yaml \\
            --config "training={step: $step}" -- grid
        mv results/equivalence results/equivalence-$step
    done
    .venv/bin/python benchmarks/equivalence.py results/equivalence-stock results/equivalence-fast

SAEs are paired by l0 and seed. A difference is counted in standard deviations over stock's seeds at that l0. Two
one-sided t-tests (5% each) ask whether its mean is less than one such deviation, up or down: then the step moves a
score by less than the choice of a seed does. The 90% interval shows the same: it must lie within -1 and 1. The
deviation is itself estimated from a few seeds, and SAEs of one seed share a stream, which the interval does not count.
"""

import argparse
import csv
import statistics
from collections import defaultdict
from pathlib import Path

from scipy.stats import t

from maskedsae.scores.table import read_rows

MARGIN = 1.0
METRICS = (
    "training.loss",
    *("quality.l0", "quality.explained_variance", "quality.dead_latents"),
    *("absorption.mean_full_absorption_score", "absorption.mean_absorption_fraction_score"),
    *("core.explained_variance_legacy", "core.ce_loss_score", "sparse_probing.sae_top_1_test_accuracy"),
    *("tpp.tpp_threshold_20_total_metric", "scr.scr_metric_threshold_20"),
    *("ood.auc", "ood.in_distribution_auc"),
)
Values = dict[str, dict[int, dict[int, float]]]  # by metric, l0 and seed


def read(results: Path) -> Values:
    found: Values = defaultdict(lambda: defaultdict(dict))
    for row in read_rows(results / "grid_scores.csv"):
        if row.metric in METRICS and row.cell:
            found[row.metric][row.cell.l0][row.cell.seed] = row.value
    for path in results.glob("*/*/*/*/*/training.csv"):
        l0, seed = (int(part.split("_")[1]) for part in path.parts[-3:-1])
        with open(path, newline="") as file:
            found["training.loss"][l0][seed] = float(list(csv.DictReader(file))[-1]["loss"])
    return found


def row(metric: str, stock: dict[int, dict[int, float]], fast: dict[int, dict[int, float]]) -> str:
    standardised, values, spreads = [], [], []
    for l0, seeds in stock.items():
        assert seeds.keys() == fast[l0].keys(), f"{metric}: other seeds at l0 {l0}"
        spread = statistics.stdev(seeds.values())
        if spread == 0:  # nothing to count in: they must be the same
            if seeds != fast[l0]:
                return f"| {metric} | {statistics.mean(seeds.values()):.4g} | 0 |  |  | **not shown** |"
            continue
        spreads.append(spread)
        standardised += [(fast[l0][seed] - value) / spread for seed, value in seeds.items()]
        values += seeds.values()
    if not standardised:
        return f"| {metric} | the same in all |  |  |  |  |"
    n, mean = len(standardised), statistics.mean(standardised)
    half = float(t.ppf(0.95, n - 1)) * statistics.stdev(standardised) / n**0.5
    verdict = "equivalent" if max(abs(mean - half), abs(mean + half)) < MARGIN else "**not shown**"
    return (
        f"| {metric} | {statistics.mean(values):.4g} | {statistics.mean(spreads):.2g} | {mean:+.2f} | "
        f"{mean - half:+.2f} to {mean + half:+.2f} | {verdict} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stock", type=Path)
    parser.add_argument("fast", type=Path)
    given = parser.parse_args()
    stock, fast = read(given.stock), read(given.fast)
    missing = [metric for metric in METRICS if metric not in stock or metric not in fast]
    if missing:
        parser.error(f"no {', '.join(missing)} in grid_scores.csv")
    pairs = sum(map(len, stock["training.loss"].values()))
    print(f"{pairs} pairs of SAEs: {len(stock['training.loss'])} l0s, each with its seeds\n")
    print("| metric | stock's mean | sd over seeds | ours less stock's, in sd | 90% interval | within one sd |")
    print("|---|---|---|---|---|---|")
    for metric in METRICS:
        print(row(metric, stock[metric], fast[metric]))


if __name__ == "__main__":
    main()
