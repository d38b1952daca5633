"""The arms of an experiment: streams that take one corruption apart, and the values of their SAEs by data seed."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from ..activations.settings import Stream
from ..scores.metrics import ACHIEVED_L0, Metric
from ..scores.table import Scores
from .equal_l0 import at_l0
from .settings import Shown

SAME_L0 = 0.01  # l0s that differ by less than this share count as one: topk's, for example
GAP = 1.6  # of the baseline's l0s around another: further apart, a straight line between them is too far off the curve

# By what the language model reads, and which rows are kept. In `paper` the rows of touched tokens take their share of
# the latents' budget, and the corrupted context changes the others' rows. Each other arm lacks one of the two, or both.
ARMS = {
    ("corrupted", "all"): "paper",
    ("clean", "all"): "budget",
    ("corrupted", "untouched"): "context",
    ("clean", "untouched"): "fewer",
}


def arm_of(stream: Stream) -> str | None:
    """None for the baseline, and for streams that are no part of the 2 x 2."""
    return None if stream.corruption is None else ARMS.get((stream.context, stream.rows))


ORACLE = "oracle"  # in place of a stream: the probes on raw activations


@dataclass(frozen=True)
class Sae:
    """SAEs that differ in their seed alone."""

    model: str
    trainer: str
    stream: str
    l0: int  # nominal


class MissingError(Exception):
    """Why a value cannot be had, in a few words."""


@dataclass(frozen=True)
class Values:
    """Scores by data seed: the mean over the initial weights that share a stream."""

    shown: Shown
    scores: Scores

    def of(self, sae: Sae, metric: Metric) -> list[float]:
        """In points, one for each data seed."""
        if sae.stream == ORACLE:
            if not self.shown.ood["same_rows"]:
                raise MissingError("ood.same_rows is false: the oracle learned from other rows than the SAEs")
            return [metric.scaled(self.scores.oracle(sae.model))] * len(self.shown.seed_groups)
        return [metric.scaled(value) for value in self._raw(sae, metric.key)]

    def l0(self, sae: Sae, key: str = ACHIEVED_L0) -> list[float]:
        """Measured on clean text, or on the texts of a score."""
        return self._raw(sae, key)

    def baseline_at(self, sae: Sae, metric: Metric, l0_key: str = ACHIEVED_L0) -> list[float]:
        """The score of the baseline of each data seed at the l0 that `sae` has there, from the baselines of that seed;
        so the error of the curve is part of a difference's spread."""
        if self.shown.baseline is None:
            raise MissingError("no stream without corruption")
        stream = self.shown.baseline.name
        known = self.shown.compared_l0s(sae.model, self.shown.baseline)
        baselines = [Sae(sae.model, sae.trainer, stream, l0) for l0 in known]
        if len(baselines) < 2:
            raise MissingError("the baseline has one l0 only")
        curves = zip(*(self.l0(baseline, l0_key) for baseline in baselines), strict=True)
        heights = zip(*(self.of(baseline, metric) for baseline in baselines), strict=True)
        found = []
        for l0, l0s, values in zip(self.l0(sae, l0_key), curves, heights, strict=True):
            near = _to_the_end(l0, l0s)
            value = at_l0(near, l0s, values)
            if value is None:
                what = f"is beyond the baseline's ({min(l0s):.1f} to {max(l0s):.1f})"
                raise MissingError(f"its l0 of {l0:.1f} {what}: add to analysis.baseline_l0")
            below, above = max(known for known in l0s if known <= near), min(known for known in l0s if known >= near)
            if above / below > GAP:
                what = f"lies between the baseline's {below:.1f} and {above:.1f}, which are too far apart"
                raise MissingError(f"its l0 of {l0:.1f} {what}: add to analysis.baseline_l0")
            found.append(value)
        return found

    def _raw(self, sae: Sae, key: str) -> list[float]:
        """A score that the configuration asks for and scores.csv lacks is an InputError, not a missing contrast."""
        if sae.l0 not in self.shown.compared_l0s(sae.model, self.shown.stream(sae.stream)):
            raise MissingError(f"this run has no SAE of {sae.stream} at l0 {sae.l0}")
        found = []
        for seeds in self.shown.seed_groups:
            cells = [self.shown.cell(sae.model, sae.stream, sae.trainer, sae.l0, seed) for seed in seeds]
            found.append(fmean(self.scores.value(cell, key) for cell in cells))
        return found


def _to_the_end(l0: float, l0s: tuple[float, ...]) -> float:
    """An l0 just beyond the curve's end is its end."""
    end = min(max(l0, min(l0s)), max(l0s))
    return end if abs(l0 / end - 1) < SAME_L0 else l0
