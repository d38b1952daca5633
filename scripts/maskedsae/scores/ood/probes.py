"""Logistic regression as in the protocol: which rows, which C, which AUC. Needs neither torch nor a language model."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

Floats = NDArray[Any]
Ints = NDArray[Any]

STRENGTHS = np.logspace(5, -5, 10)  # C, from weak to strong regularisation; of equal AUCs the first is taken


@dataclass(frozen=True)
class Probe:
    model: LogisticRegression
    C: float
    validation_auc: float

    def score(self, x: Floats) -> Floats:
        """The probability of class 1, for each row."""
        scores: Floats = self.model.predict_proba(x)[:, 1]
        return scores

    @property
    def weights(self) -> int:
        """How many features have a weight other than 0."""
        return int(np.count_nonzero(self.model.coef_))

    @property
    def converged(self) -> bool:
        return bool(self.model.n_iter_[0] < self.model.max_iter)


def balanced_rows(labels: Ints, count: int, seed: int) -> Ints:
    """Half of each class, drawn and shuffled: the original's rows, in its order (the last ones choose C)."""
    rng = np.random.RandomState(seed)
    classes = [np.flatnonzero(labels == label) for label in (1, 0)]
    drawn = [rng.choice(rows, size=count // 2, replace=False) for rows in classes]
    for rows, taken in zip(classes, drawn, strict=True):
        # The original draws its test rows here: none in this setting, but the generator advances.
        rng.choice(np.setdiff1d(rows, taken), size=0, replace=False)
    return rng.permutation(np.concatenate(drawn))


def first_rows(labels: Ints, count: int, seed: int) -> Ints:
    """The first of each class, shuffled: what the original trains SAE probes on (unseeded there)."""
    first = [np.flatnonzero(labels == label)[: count // 2] for label in (1, 0)]
    return np.random.RandomState(seed).permutation(np.concatenate(first))


def logistic_regression(penalty: str, C: float, seed: int, max_iter: int) -> LogisticRegression:
    """scikit-learn 1.10 has no `penalty` any more: l1_ratio 1 is L1, and L2 is the default."""
    if penalty == "l1":
        return LogisticRegression(C=C, l1_ratio=1, solver="saga", random_state=seed, max_iter=max_iter)
    return LogisticRegression(C=C, random_state=seed, max_iter=max_iter)


def fit(x: Floats, labels: Ints, penalty: str, validation_rows: int, seed: int, max_iter: int) -> Probe:
    """Choose C by the AUC on the last rows of a probe trained on the others; then train with it on all rows."""
    split = len(labels) - validation_rows
    with warnings.catch_warnings():
        # With weak regularisation, separable classes never converge; the original stops there too. `converged` tells.
        warnings.simplefilter("ignore", ConvergenceWarning)
        aucs = []
        for C in STRENGTHS:
            model = logistic_regression(penalty, C, seed, max_iter).fit(x[:split], labels[:split])
            aucs.append(roc_auc_score(labels[split:], model.predict_proba(x[split:])[:, 1]))
            if aucs[-1] >= 1:  # no later C is better
                break
        best = int(np.argmax(aucs))
        order = np.random.RandomState(seed).permutation(len(labels))
        model = logistic_regression(penalty, STRENGTHS[best], seed, max_iter).fit(x[order], labels[order])
    return Probe(model, float(STRENGTHS[best]), float(aucs[best]))
