"""Probes' scores row by row: their AUC, its bootstrap over the rows, and the file that has them."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from ...jobs.files import write_bytes
from .probes import Floats, Ints

TESTS = ("ood", "in_distribution")  # what a probe is tested on
COLUMNS = ("dataset", "test", "row", "label", "score")


@dataclass(frozen=True)
class Scored:
    """A probe's scores of the rows of one test on a data set."""

    dataset: str
    test: str
    rows: Ints  # their numbers in the file
    labels: Ints
    scores: Floats

    @property
    def auc(self) -> float:
        return float(roc_auc_score(self.labels, self.scores))

    def resampled_aucs(self, resamples: int, seed: int) -> Floats:
        """Each class keeps its size. The same rows and seed give the same resamples, whatever the scores, so two
        probes' AUCs can be subtracted one by one. (Sums of halves, so they are exact in any order that BLAS adds.)"""
        rng = np.random.default_rng([seed, *f"{self.dataset}/{self.test}".encode()])
        above, below = self.scores[self.labels == 1], self.scores[self.labels == 0]
        drawn_above, drawn_below = (
            rng.multinomial(len(side), np.full(len(side), 1 / len(side)), size=resamples) for side in (above, below)
        )
        wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
        aucs: Floats = np.sum(drawn_above @ wins * drawn_below, axis=1) / wins.size
        return aucs


def summary(values: list[float], resampled: list[Floats]) -> dict[str, Any]:
    """Mean over the data sets. Its standard error treats them as a sample of data sets; the interval treats them as
    fixed, and is over their rows."""
    return {
        "mean": float(np.mean(values)),
        "standard_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
        "interval": interval(np.mean(resampled, axis=0)),
    }


def interval(samples: Floats) -> list[float]:
    """The middle 95%."""
    low, high = np.percentile(samples, [2.5, 97.5])
    return [float(low), float(high)]


def write_scores(path: str | Path, scored: list[Scored]) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for test in scored:
        for row, label, score in zip(test.rows.tolist(), test.labels.tolist(), test.scores.tolist(), strict=True):
            lines.writerow((test.dataset, test.test, row, label, score))
    write_bytes(path, text.getvalue().encode())


def read_scores(path: str | Path) -> dict[tuple[str, str], Scored]:
    """{(data set, test): what was scored}, in the file's order."""
    rows: dict[tuple[str, str], list[Any]] = {}
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            key = line["dataset"], line["test"]
            rows.setdefault(key, []).append((int(line["row"]), int(line["label"]), float(line["score"])))
    return {key: Scored(*key, *map(np.array, zip(*columns, strict=True))) for key, columns in rows.items()}
