"""How sure an AUC is, and a difference of two: bootstraps over test rows, and the spread over the data sets."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from ..errors import InputError
from ..files import write_bytes

TESTS = ("ood", "in_distribution")  # what a probe is tested on
COLUMNS = ("dataset", "test", "row", "label", "score")


@dataclass(frozen=True)
class Scored:
    """A probe's scores of the rows of one test on a data set."""

    dataset: str
    test: str
    rows: np.ndarray  # their numbers in the file
    labels: np.ndarray
    scores: np.ndarray

    @property
    def auc(self) -> float:
        return float(roc_auc_score(self.labels, self.scores))

    def resampled_aucs(self, resamples: int, seed: int) -> np.ndarray:
        """Each class keeps its size. The same rows and seed give the same resamples, whatever the scores: so two
        probes' AUCs can be subtracted one by one. (Sums of halves, hence exact in whatever order BLAS takes them.)"""
        rng = np.random.default_rng([seed, *f"{self.dataset}/{self.test}".encode()])
        above, below = self.scores[self.labels == 1], self.scores[self.labels == 0]
        drawn_above, drawn_below = (
            rng.multinomial(len(side), np.full(len(side), 1 / len(side)), size=resamples) for side in (above, below)
        )
        wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
        return np.sum(drawn_above @ wins * drawn_below, axis=1) / wins.size


def summary(values: list[float], resampled: list[np.ndarray]) -> dict:
    """Mean over the data sets; its standard error takes them for a sample of all data sets, the interval takes them as
    given and is over their rows."""
    return {
        "mean": float(np.mean(values)),
        "standard_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
        "interval": interval(np.mean(resampled, axis=0)),
    }


def interval(samples: np.ndarray) -> list[float]:
    """The middle 95%."""
    return np.percentile(samples, [2.5, 97.5]).tolist()


def paired_difference(one: str | Path, other: str | Path, resamples: int = 1000, seed: int = 1) -> dict:
    """AUCs of `one` less those of `other` (say, masked and unmasked), from the rows that both scored (ood_rows.csv)."""
    ones, others = read_scores(one), read_scores(other)
    if ones.keys() != others.keys():
        raise InputError(f"{one} and {other}: not of the same data sets")
    result: dict = {}
    for test in TESTS:
        differences, resampled, by_dataset = [], [], {}
        for key in [key for key in ones if key[1] == test]:
            a, b = ones[key], others[key]
            if not (np.array_equal(a.rows, b.rows) and np.array_equal(a.labels, b.labels)):
                raise InputError(
                    f"{one} and {other}: not of the same rows of {a.dataset}: probe both with one protocol"
                )
            differences.append(a.auc - b.auc)
            resampled.append(a.resampled_aucs(resamples, seed) - b.resampled_aucs(resamples, seed))
            by_dataset[a.dataset] = {"difference": differences[-1], "interval": interval(resampled[-1])}
        result[test] = summary(differences, resampled) | {"datasets": by_dataset}
    return result


def write_scores(path: str | Path, scored: list[Scored]) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for of in scored:
        for row, label, score in zip(of.rows.tolist(), of.labels.tolist(), of.scores.tolist(), strict=True):
            lines.writerow((of.dataset, of.test, row, label, score))
    write_bytes(path, text.getvalue().encode())


def read_scores(path: str | Path) -> dict[tuple[str, str], Scored]:
    """{(data set, test): what was scored}, in the file's order."""
    rows: dict[tuple[str, str], list] = {}
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            key = line["dataset"], line["test"]
            rows.setdefault(key, []).append((int(line["row"]), int(line["label"]), float(line["score"])))
    return {key: Scored(*key, *map(np.array, zip(*columns, strict=True))) for key, columns in rows.items()}
