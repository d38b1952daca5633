"""Probes on raw activations (the oracle) and on an SAE's latents, tested in and out of distribution."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from .activations import Part, read_activations
from .intervals import TESTS, Scored, interval, summary
from .latents import Encoder, most_different
from .probes import balanced_rows, first_rows, fit


@dataclass(frozen=True)
class Rows:
    """Some rows of a data set's training or OOD file."""

    x: np.ndarray  # features: raw activations, or latents from the most to the least different
    labels: np.ndarray
    numbers: np.ndarray  # in their file

    @property
    def balance(self) -> dict:
        return {"rows": len(self.labels), "of_class_1": int(self.labels.sum())}


@dataclass(frozen=True)
class Task:
    """One data set, ready to be probed."""

    dataset: str
    classes: list[str]  # what class 0 and class 1 mean
    train: Rows
    tests: dict[str, Rows]
    latents: list[int] | None  # the features' numbers in the SAE


class Probed(NamedTuple):
    facts: dict  # about the probe
    tests: dict[str, Scored]


def oracle(activations: str | Path, settings: dict, workers: int) -> tuple[dict, list[Scored]]:
    """L2 logistic regression on the activations themselves."""
    sets, classes = read_activations(activations)
    tasks = []
    for name, parts in sets.items():
        rows = balanced_rows(parts["train"].labels.numpy(), settings["train_rows"], settings["split_seed"])
        tasks.append(Task(name, classes[name], *divide(parts, rows, settings["drop_seen"]), None))
    width = tasks[0].train.x.shape[1]
    return score(tasks, "l2", [width], width, settings, workers)


def sae_probes(activations: str | Path, sae: str | Path, settings: dict, workers: int) -> tuple[dict, list[Scored]]:
    """L1 logistic regression on the k latents whose class means differ most, for each k of the sweep."""
    sets, classes = read_activations(activations)
    encode, draw = Encoder(sae), balanced_rows if settings["same_rows"] else first_rows
    tasks = []
    for name, parts in sets.items():
        rows = draw(parts["train"].labels.numpy(), settings["train_rows"], settings["split_seed"])
        features = {key: encode(part.x) for key, part in parts.items()}
        chosen = most_different(features["train"][rows], parts["train"].labels[rows], max(settings["ks"]))
        strongest = {key: Part(features[key][:, chosen], part.labels, part.texts) for key, part in parts.items()}
        tasks.append(Task(name, classes[name], *divide(strongest, rows, settings["drop_seen"]), chosen.tolist()))
    return score(tasks, "l1", settings["ks"], settings["k"], settings, workers)


def divide(parts: dict[str, Part], train_rows: np.ndarray, drop_seen: bool) -> tuple[Rows, dict[str, Rows]]:
    """Training rows, and those of each test: in distribution, the rows of the training file that were not drawn."""
    train, ood = parts["train"], parts["ood"]
    undrawn = np.setdiff1d(np.arange(len(train.x)), train_rows)
    tests = {"ood": (ood, np.arange(len(ood.x))), "in_distribution": (train, undrawn)}
    if drop_seen:  # texts that were trained on, under another number
        seen = train.texts[train_rows]
        tests = {key: (part, rows[~torch.isin(part.texts[rows], seen).numpy()]) for key, (part, rows) in tests.items()}
    return take(train, train_rows), {key: take(part, rows) for key, (part, rows) in tests.items()}


def take(part: Part, rows: np.ndarray) -> Rows:
    return Rows(part.x[rows].numpy(), part.labels[rows].numpy(), rows)


def score(
    tasks: list[Task], penalty: str, ks: list[int], headline: int, settings: dict, workers: int
) -> tuple[dict, list[Scored]]:
    """The result as its JSON has it, and the test rows' scores by the probes on `headline` features."""
    probed = Parallel(n_jobs=workers)(delayed(probe)(task, penalty, ks, settings) for task in tasks)
    scored = [probes[headline].tests for probes in probed]
    resampled = [
        {test: of.resampled_aucs(settings["bootstrap"], settings["seed"]) for test, of in tests.items()}
        for tests in scored
    ]
    result = {
        "protocol": {key: value for key, value in settings.items() if key != "code"},
        "mean": {
            test: summary([tests[test].auc for tests in scored], [aucs[test] for aucs in resampled]) for test in TESTS
        },
        "mean_by_k": {
            k: {test: float(np.mean([probes[k].tests[test].auc for probes in probed])) for test in TESTS} for k in ks
        },
        "datasets": {
            task.dataset: of_dataset(task, probes, headline, aucs)
            for task, probes, aucs in zip(tasks, probed, resampled, strict=True)
        },
    }
    return result, [tests[test] for tests in scored for test in TESTS]


def in_words(result: dict) -> str:
    shifted, same = (result["mean"][test] for test in TESTS)
    headline = f"mean AUC of eight {shifted['mean']:.3f} (s.e. {shifted['standard_error']:.3f}) out of distribution"
    return f"{headline}, {same['mean']:.3f} in distribution"


def probe(task: Task, penalty: str, ks: list[int], settings: dict) -> dict[int, Probed]:
    """{k: what the probe on the first k features is, and how it scores the test rows}.

    On one thread, so that the numbers do not depend on how many data sets are probed at a time.
    """
    probes = {}
    with threadpool_limits(1):
        for k in ks:
            fitted = fit(
                *(task.train.x[:, :k], task.train.labels, penalty),
                **{key: settings[key] for key in ("validation_rows", "seed", "max_iter")},
            )
            facts = {key: getattr(fitted, key) for key in ("C", "validation_auc", "weights", "converged")}
            tests = {
                test: Scored(task.dataset, test, rows.numbers, rows.labels, fitted.score(rows.x[:, :k]))
                for test, rows in task.tests.items()
            }
            probes[k] = Probed(facts, tests)
    return probes


def of_dataset(task: Task, probes: dict[int, Probed], headline: int, resampled: dict[str, np.ndarray]) -> dict:
    facts, tests = probes[headline]
    result = {
        test: {"auc": of.auc, "interval": interval(resampled[test]), **task.tests[test].balance}
        for test, of in tests.items()
    }
    result |= {"features": headline, **facts, "train": task.train.balance, "classes": task.classes}
    result["by_k"] = {
        k: {test: of.auc for test, of in tests.items()} | {"C": facts["C"], "weights": facts["weights"]}
        for k, (facts, tests) in probes.items()
    }
    if task.latents:
        result["latents"] = task.latents[:headline]
    return result
