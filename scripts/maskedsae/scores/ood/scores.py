"""Probes on raw activations (the oracle) and on an SAE's latents, tested in and out of distribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from ...jobs.files import read_json, write_json
from ...jobs.log import log
from ...jobs.typed import plain
from ...saes.cells import sae_of
from .activations import Part, read_activations
from .compactness import latents_for_95
from .latents import Encoder, most_different
from .probes import Floats, Ints, balanced_rows, first_rows, fit
from .rows import TESTS, Scored, interval, summary, write_scores
from .settings import Probing, SaeProbing


@dataclass(frozen=True)
class Rows:
    """Some rows of a data set's training or OOD file."""

    x: Floats  # features: raw activations, or latents from the most to the least different
    labels: Ints
    numbers: Ints  # of the rows in their file

    @property
    def balance(self) -> dict[str, int]:
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
    about: dict[str, Any]  # the probe
    tests: dict[str, Scored]


def oracle(activations: str | Path, settings: Probing, workers: int) -> tuple[dict[str, Any], list[Scored]]:
    """L2 logistic regression on the activations themselves."""
    sets, classes = read_activations(activations)
    tasks = []
    for name, parts in sets.items():
        rows = balanced_rows(parts["train"].labels.numpy(), settings.train_rows, settings.split_seed)
        tasks.append(Task(name, classes[name], *divide(parts, rows, settings.drop_seen), None))
    width = tasks[0].train.x.shape[1]
    return score(tasks, "l2", [width], width, settings, workers)


def sae_probes(
    activations: str | Path, sae: str | Path, settings: SaeProbing, workers: int
) -> tuple[dict[str, Any], list[Scored]]:
    """L1 logistic regression on the k latents whose class means differ most, for each k of the sweep."""
    sets, classes = read_activations(activations)
    encode, draw = Encoder(sae), balanced_rows if settings.same_rows else first_rows
    tasks, l0s = [], []
    for name, parts in sets.items():
        rows = draw(parts["train"].labels.numpy(), settings.train_rows, settings.split_seed)
        features = {key: encode(part.x) for key, part in parts.items()}
        chosen = most_different(features["train"][rows], parts["train"].labels[rows], max(settings.ks))
        strongest = {key: Part(features[key][:, chosen], part.labels, part.texts) for key, part in parts.items()}
        train, tests = divide(strongest, rows, settings.drop_seen)
        tasks.append(Task(name, classes[name], train, tests, chosen.tolist()))
        of_tests = {"ood": features["ood"], "in_distribution": features["train"]}
        l0s.append({test: (of_tests[test][tests[test].numbers] != 0).sum(1).double().mean().item() for test in TESTS})
    result, scored = score(tasks, "l1", settings.ks, settings.k, settings, workers)
    return result | {"l0": {test: float(np.mean([l0[test] for l0 in l0s])) for test in TESTS}}, scored


def write_oracle(
    summary_to: str | Path, rows_to: str | Path, activations: str | Path, settings: Probing, workers: int
) -> None:
    result, scored = oracle(activations, settings, workers)
    write_scores(rows_to, scored)
    write_json(summary_to, result)
    log.info("%s oracle: %s", Path(summary_to).parent.name, in_words(result))


def write_sae_probes(
    summary_to: str | Path,
    rows_to: str | Path,
    activations: str | Path,
    weights: str | Path,
    oracle_file: str | Path,
    settings: SaeProbing,
    workers: int,
) -> None:
    """Probe the SAE that `summary_to` is of; `weights` is its file for SAELens, `oracle_file` its model's oracle."""
    torch.set_num_threads(1)  # sums differ with it, and the number of workers must not matter
    result, scored = sae_probes(activations, Path(weights).parent, settings, workers)
    best = {test: read_json(oracle_file)["mean"][test]["mean"] for test in TESTS}
    result["latents_for_95"] = {
        test: latents_for_95({k: aucs[test] for k, aucs in result["mean_by_k"].items()}, best[test]) for test in TESTS
    }
    write_scores(rows_to, scored)
    write_json(summary_to, result)
    log.info("%s: %s", sae_of(summary_to).words, in_words(result))


def divide(parts: dict[str, Part], train_rows: Ints, drop_seen: bool) -> tuple[Rows, dict[str, Rows]]:
    """Training rows, and each test's rows; in distribution, those of the training file that were not drawn."""
    train, ood = parts["train"], parts["ood"]
    undrawn = np.setdiff1d(np.arange(len(train.x)), train_rows)
    tests = {"ood": (ood, np.arange(len(ood.x))), "in_distribution": (train, undrawn)}
    if drop_seen:  # leave out rows whose text was trained on
        seen = train.texts[train_rows]
        tests = {key: (part, rows[~torch.isin(part.texts[rows], seen).numpy()]) for key, (part, rows) in tests.items()}
    return take(train, train_rows), {key: take(part, rows) for key, (part, rows) in tests.items()}


def take(part: Part, rows: Ints) -> Rows:
    return Rows(part.x[rows].numpy(), part.labels[rows].numpy(), rows)


def score(
    tasks: list[Task], penalty: str, ks: Sequence[int], headline: int, settings: Probing, workers: int
) -> tuple[dict[str, Any], list[Scored]]:
    """The result for its JSON file, and the test rows' scores by the probes on `headline` features."""
    probed = Parallel(n_jobs=workers)(delayed(probe)(task, penalty, ks, settings) for task in tasks)
    scored = [probes[headline].tests for probes in probed]
    resampled = [
        {test: rows.resampled_aucs(settings.bootstrap, settings.seed) for test, rows in tests.items()}
        for tests in scored
    ]
    result = {
        "protocol": {key: value for key, value in plain(settings).items() if key != "code"},
        "mean": {
            test: summary([tests[test].auc for tests in scored], [aucs[test] for aucs in resampled]) for test in TESTS
        },
        "mean_by_k": {
            k: {test: float(np.mean([probes[k].tests[test].auc for probes in probed])) for test in TESTS} for k in ks
        },
        "datasets": {
            task.dataset: dataset_result(task, probes, headline, aucs)
            for task, probes, aucs in zip(tasks, probed, resampled, strict=True)
        },
    }
    return result, [tests[test] for tests in scored for test in TESTS]


def in_words(result: dict[str, Any]) -> str:
    shifted, same = (result["mean"][test] for test in TESTS)
    headline = f"mean AUC of eight {shifted['mean']:.3f} (s.e. {shifted['standard_error']:.3f}) out of distribution"
    return f"{headline}, {same['mean']:.3f} in distribution"


def probe(task: Task, penalty: str, ks: Sequence[int], settings: Probing) -> dict[int, Probed]:
    """{k: the probe on the first k features, and its scores of the test rows}.

    On one thread, so that the numbers do not depend on how many data sets are probed at a time.
    """
    probes = {}
    with threadpool_limits(1):
        for k in ks:
            fitted = fit(
                *(task.train.x[:, :k], task.train.labels, penalty),
                **{key: getattr(settings, key) for key in ("validation_rows", "seed", "max_iter")},
            )
            about = {key: getattr(fitted, key) for key in ("C", "validation_auc", "weights", "converged")}
            tests = {
                test: Scored(task.dataset, test, rows.numbers, rows.labels, fitted.score(rows.x[:, :k]))
                for test, rows in task.tests.items()
            }
            probes[k] = Probed(about, tests)
    return probes


def dataset_result(
    task: Task, probes: dict[int, Probed], headline: int, resampled: dict[str, Floats]
) -> dict[str, Any]:
    about, tests = probes[headline]
    result: dict[str, Any] = {
        test: {"auc": rows.auc, "interval": interval(resampled[test]), **task.tests[test].balance}
        for test, rows in tests.items()
    }
    result |= {"features": headline, **about, "train": task.train.balance, "classes": task.classes}
    result["by_k"] = {
        k: {test: rows.auc for test, rows in tests.items()} | {"C": about["C"], "weights": about["weights"]}
        for k, (about, tests) in probes.items()
    }
    if task.latents:
        result["latents"] = task.latents[:headline]
    return result
