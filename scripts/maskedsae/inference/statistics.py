"""Intervals and tests of paired differences: one number for each data seed in, estimates out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, nan, sqrt
from statistics import NormalDist, fmean, stdev

from scipy.stats import nct, t


@dataclass(frozen=True)
class Estimate:
    """A mean over n differences with its t interval. With one difference only `n` and `mean` are known."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float  # two-sided, of no difference

    @property
    def effect(self) -> float:
        """The mean in standard deviations of the paired differences (Cohen's d_z)."""
        return _ratio(self.mean, self.sd)

    def equivalence_p(self, margin: float) -> float:
        """Two one-sided t tests (Schuirmann): small where the mean lies within -margin ... margin."""
        if self.n < 2:
            return nan
        error = self.sd / sqrt(self.n)
        return max(float(t.sf(_ratio(margin + side * self.mean, error), self.n - 1)) for side in (1, -1))


def estimate(differences: Sequence[float], confidence: float = 0.95) -> Estimate:
    n, mean = len(differences), fmean(differences)
    if n < 2:
        return Estimate(n, mean, nan, nan, nan, nan)
    sd = stdev(differences)
    error = sd / sqrt(n)
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * error
    p = 2 * float(t.sf(abs(_ratio(mean, error)), n - 1))
    return Estimate(n, mean, sd, mean - half, mean + half, p)


def holm(ps: Sequence[float]) -> list[float]:
    """p values that hold for the whole family (Holm, 1979), in the order given."""
    adjusted, largest = [nan] * len(ps), 0.0
    order = sorted(range(len(ps)), key=lambda place: ps[place])
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def seeds_needed(sd: float, difference: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Data seeds with which a paired two-sided t test finds this difference with this power."""
    normal = (NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)) * sd / difference
    n = max(2, ceil(normal**2))  # a little too few, since the spread is estimated
    while sd and float(nct.sf(float(t.ppf(1 - alpha / 2, n - 1)), n - 1, difference * sqrt(n) / sd)) < power:
        n += 1
    return n


def _ratio(mean: float, deviation: float) -> float:
    if deviation:
        return mean / deviation
    return inf if mean > 0 else -inf if mean < 0 else 0.0
