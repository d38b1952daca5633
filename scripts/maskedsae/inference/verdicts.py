"""The paper's claims, each with a plain verdict from a run's own scores.

No verdict says "reproduced": one seed, or a direction, is not enough for that. A claim about several differences (one
per l0, or per step of p) is judged by the weakest one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

from ..saes.cells import Cell
from ..saes.settings import Trainer
from ..scores.table import Scores
from .published import Published, metrics_of
from .settings import Shown

SAME, OPPOSITE, WITHIN, NOT_TESTED = "same direction", "opposite direction", "within the known spread", "not tested"

# With one seed, where no spread is known.
SIGN_ONLY = "sign only; spread unknown; of these SAEs only"

# A claim about several differences has the first of these that one of them has.
WEAKEST_FIRST = (OPPOSITE, NOT_TESTED, WITHIN, SAME)

ORACLE = "oracle"
Term = tuple[float, int] | str  # of a claim: an SAE of the paper's grid, by its p and l0; or the oracle
Bounds = tuple[float, float]

# The paired 95% interval of a difference of two AUCs out of distribution, from the files of their rows' scores.
Interval = Callable[[Path, Path], Bounds]


@dataclass(frozen=True)
class Difference:
    """In points: in this run, and in the paper's own tables where they have it."""

    name: str  # "0.3@20 - 0@20"; with its metric where the claim is about several
    ours: float
    published: float | None
    spread: str  # what it was compared with
    verdict: str


@dataclass(frozen=True)
class Verdict:
    id: str
    trainer: str
    place: str
    text: str
    read_as: str | None
    model: str | None  # None for a claim that no cells can settle
    metrics: tuple[str, ...]
    direction: str
    stated: str | None
    verdict: str
    why: str
    differences: tuple[Difference, ...]
    seeds: int


def verdicts(shown: Shown, scores: Scores, published: Published, interval: Interval) -> list[Verdict]:
    """One for each claim of reference/claims.yaml and each trainer, in their order."""
    judge = _Judge(shown, scores, published, interval)
    return [judge.verdict(claim, trainer) for trainer in shown.trainers for claim in published.claims["claims"]]


class _Judge:
    def __init__(self, shown: Shown, scores: Scores, published: Published, interval: Interval):
        self.shown, self.scores, self.published, self.interval = shown, scores, published, interval
        self.metrics = {metric.name: metric for metric in shown.report.metrics}
        self.spread = published.claims["spread"]["points"]

    def verdict(self, claim: dict[str, Any], trainer: Trainer) -> Verdict:
        differences: list[Difference] = []
        metrics = metrics_of(claim)
        try:
            if not claim["differences"]:
                raise _NotTestedError(claim["because"])
            model = self.model(claim["model"], trainer)
            differences = [
                self.difference(claim, metric, model, trainer.name, terms)
                for metric in metrics
                for terms in claim["differences"]
            ]
            verdict, why = self.weakest(claim, differences)
        except _NotTestedError as reason:
            verdict, why = NOT_TESTED, str(reason)
        quoted: dict[str, Any] = {key: claim[key] for key in ("id", "place", "text", "model", "direction", "stated")}
        judged: dict[str, Any] = {
            "read_as": claim.get("read_as"),
            "metrics": metrics,
            "verdict": verdict,
            "why": why,
            "differences": tuple(differences),
            "seeds": len(self.shown.seeds),
        }
        return Verdict(**quoted, **judged, trainer=trainer.name)

    def model(self, name: str, trainer: Trainer) -> str:
        entries = [entry for entry in self.shown.models if self.published.model_of(entry) == name]
        if self.shown.demo or not entries:
            raise _NotTestedError(f"{self.published.experiment['models'][name]['hub']} is not part of this run")
        if self.published.departures(entries[0], trainer, self.shown):
            raise _NotTestedError("another experiment than the paper's")
        return entries[0].name

    def difference(
        self, claim: dict[str, Any], metric: str, model: str, trainer: str, terms: dict[str, Any]
    ) -> Difference:
        plus, minus = ([_read(term) for term in terms[side]] for side in ("plus", "minus"))
        by_seed = []
        for seed in self.shown.seeds:
            more, less = (
                sum(self.score(metric, model, trainer, seed, term) for term in side) for side in (plus, minus)
            )
            by_seed.append(more - less)
        ours = round(mean(by_seed), 9)  # sums of equal scores differ in their last bits
        bounds, spread = self.chance(metric, by_seed, model, trainer, (plus[0], minus[0]))
        name = f"{' + '.join(map(_spelled, plus))} - {' - '.join(map(_spelled, minus))}"
        if len(metrics_of(claim)) > 1:
            name = f"{metric}: {name}"
        verdict = _of_difference(claim["direction"], ours, bounds)
        return Difference(name, ours, self.printed(claim, metric, plus, minus), spread, verdict)

    def cell(self, model: str, trainer: str, seed: int, term: tuple[float, int]) -> Cell | None:
        """The SAE that a claim means: of the stream made as in the paper, not of another with the same p."""
        p, l0 = term
        streams = [s for s in self.shown.streams if s.as_in_the_paper and s.is_baseline == (p == 0) and s.p == p]
        return self.shown.cell(model, streams[0].name, trainer, l0, seed) if streams else None

    def score(self, metric: str, model: str, trainer: str, seed: int, term: Term) -> float:
        if isinstance(term, str):
            if not self.shown.ood["same_rows"]:
                raise _NotTestedError("ood.same_rows is false: the oracle learned from other rows than the SAEs")
            return 100 * self.scores.oracle(model)
        key = "ood.auc" if metric == "ood" else self.metrics[metric].key
        cell = self.cell(model, trainer, seed, term)
        if cell is None or not self.scores.has(cell, key):
            p, l0 = term
            raise _NotTestedError(f"no {metric} at p = {p:g}, l0 = {l0} in scores.csv")
        value = self.scores.value(cell, key)
        return 100 * value if metric == "ood" else self.metrics[metric].scaled(value)

    def rows(self, model: str, trainer: str, term: Term) -> Path:
        """The file of the test rows' scores, beside the one that the AUC comes from."""
        if isinstance(term, str):
            return Path(self.scores.oracle_row(model).source).with_name("oracle_rows.csv")
        cell = self.cell(model, trainer, self.shown.seeds[0], term)
        assert cell is not None
        return Path(self.scores.row(cell, "ood.auc").source).with_name("ood_rows.csv")

    def chance(
        self, metric: str, by_seed: list[float], model: str, trainer: str, pair: tuple[Term, Term]
    ) -> tuple[Bounds | None, str]:
        """Where the true difference may lie: by our seeds, by the paired bootstrap, or by the known spread.

        None if no spread is known: then the sign holds for these SAEs only.
        """
        ours = mean(by_seed)
        if len(by_seed) > 1:
            half = float(t.ppf(0.975, len(by_seed) - 1)) * stdev(by_seed) / len(by_seed) ** 0.5
            return (ours - half, ours + half), f"95% interval over {len(by_seed)} seeds: +/- {half:.3f}"
        if metric == "ood":
            one, other = (self.rows(model, trainer, term) for term in pair)
            low, high = (100 * bound for bound in self.interval(one, other))
            return (low, high), f"95% interval over test rows, paired: {low:.3f} to {high:.3f}"
        if self.spread[metric] is None:
            return None, SIGN_ONLY
        half = self.spread[metric]
        return (ours - half, ours + half), f"known spread {half:g}"

    def printed(self, claim: dict[str, Any], metric: str, plus: list[Term], minus: list[Term]) -> float | None:
        """The same difference in the paper's own table."""
        if metric == "ood":
            return float(claim["stated"]) if claim["stated"] else None
        label = self.metrics[metric].label
        values = self.published.values(
            claim["model"], label, [term for term in plus + minus if not isinstance(term, str)]
        )
        return sum(values[: len(plus)]) - sum(values[len(plus) :]) if values else None

    def weakest(self, claim: dict[str, Any], differences: list[Difference]) -> tuple[str, str]:
        if claim["direction"] == "none":
            return NOT_TESTED, "the claim names neither a direction nor a bound"
        found = [difference.verdict for difference in differences]
        counts = ", ".join(f"{found.count(kind)} {kind}" for kind in WEAKEST_FIRST[::-1] if kind in found)
        why = differences[0].spread if len(found) == 1 else f"of {len(found)} differences: {counts}"
        if len(found) > 1 and any(difference.spread == SIGN_ONLY for difference in differences):
            why += f"; {SIGN_ONLY}"
        return next(kind for kind in WEAKEST_FIRST if kind in found), why


class _NotTestedError(Exception):
    """Why a claim cannot be tested on this run."""


def _of_difference(direction: str, ours: float, bounds: Bounds | None) -> str:
    """`bounds`: where the true difference may lie; None if only its sign is known."""
    if direction == "none":
        return NOT_TESTED
    if direction == "not_worse" and ours >= 0:
        return SAME
    if bounds is None and ours == 0:
        return NOT_TESTED  # no sign
    if bounds and bounds[0] <= 0 <= bounds[1]:
        return WITHIN
    return SAME if (ours < 0) == (direction == "down") else OPPOSITE


def _read(term: list[Any] | str) -> Term:
    return ORACLE if isinstance(term, str) else (float(term[0]), int(term[1]))


def _spelled(term: Term) -> str:
    return term if isinstance(term, str) else f"{term[0]:g}@{term[1]}"
