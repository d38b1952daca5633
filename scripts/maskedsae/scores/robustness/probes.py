"""Logistic regression on labels that are known per token."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score

from ..ood.probes import logistic_regression

MAX_ITER = 1000


@dataclass(frozen=True)
class Probe:
    weights: torch.Tensor  # (features)
    bias: float

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """Log odds of each row; positive where it says yes."""
        return x @ self.weights + self.bias

    def auc(self, x: torch.Tensor, labels: torch.Tensor) -> float:
        return float(roc_auc_score(labels.numpy(), self.scores(x).numpy()))


def fit(x: torch.Tensor, labels: torch.Tensor, seed: int) -> Probe:
    """With L2 and C = 1 on features scaled to unit variance; the weights are given back for the features as they are.

    Some dimensions of a residual stream are a hundred times larger than others, and unscaled they decide alone.
    """
    wide = x.double().numpy()
    mean, scale = wide.mean(0), wide.std(0)
    scale[scale == 0] = 1  # a latent that is never active
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = logistic_regression("l2", 1.0, seed, MAX_ITER).fit((wide - mean) / scale, labels.numpy())
    weights = model.coef_[0] / scale
    bias = model.intercept_[0] - float(np.dot(weights, mean))
    return Probe(torch.from_numpy(weights).float(), float(bias))
