"""The paper's claims, each with a plain verdict from a run's own scores.

No verdict says "reproduced": one seed, or a direction, is not that. A claim that is made of several differences (each
l0, each step of p) is judged by its weakest one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t

from .metrics import paper_metrics
from .published import Published
from .scores import Scores

SAME, OPPOSITE, WITHIN, NOT_TESTED = "same direction", "opposite direction", "within the known spread", "not tested"

# Of one seed, where no spread is known.
SIGN_ONLY = "sign only; spread unknown; of these SAEs only"

# From the weakest; a claim of several differences has the first of these that one of them has.
WEAKEST_FIRST = (OPPOSITE, NOT_TESTED, WITHIN, SAME)

ORACLE = "oracle"
Cell = tuple[float, int] | str  # p and l0, or the oracle
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """In points: of this run, and of the paper's own tables where they have it."""

    name: str  # "0.3@20 - 0@20"
    ours: float
    published: float | None
    spread: str  # what it was held against
    verdict: str


@dataclass(frozen=True)
class Verdict:
    id: str
    trainer: str
    text: str
    model: str
    metric: str
    direction: str
    stated: str | None
    verdict: str
    why: str
    differences: tuple[Difference, ...]
    seeds: int


# The paired interval of an OOD difference, in AUC: (model, trainer, seed, cell, cell) -> (low, high).
Interval = Callable[[str, str, int, Cell, Cell], Bounds]


def verdicts(settings: dict, scores: Scores, published: Published, interval: Interval) -> list[Verdict]:
    """One for each claim of reference/claims.yaml and each trainer, in their order."""
    judge = _Judge(settings, scores, published, interval)
    return [judge.verdict(claim, trainer) for trainer in settings["trainers"] for claim in published.claims["claims"]]


class _Judge:
    def __init__(self, settings: dict, scores: Scores, published: Published, interval: Interval):
        self.settings, self.scores, self.published, self.interval = settings, scores, published, interval
        self.metrics = {metric.name: metric for metric in paper_metrics(settings["report"])}
        self.spread, self.stream_of = published.claims["spread"]["points"], streams_by_p(settings)

    def verdict(self, claim: dict, trainer: str) -> Verdict:
        differences: list[Difference] = []
        try:
            model = self.model(claim["model"], trainer)
            differences = [self.difference(claim, model, trainer, terms) for terms in claim["differences"]]
            verdict, why = self.weakest(claim, differences)
        except _NotTestedError as reason:
            verdict, why = NOT_TESTED, str(reason)
        facts = {key: claim[key] for key in ("id", "text", "model", "metric", "direction", "stated")}
        seeds = len(self.settings["seeds"])
        return Verdict(**facts, trainer=trainer, verdict=verdict, why=why, differences=tuple(differences), seeds=seeds)

    def model(self, name: str, trainer: str) -> str:
        entries = [entry for entry in self.settings["models"] if self.published.model_of(entry) == name]
        if self.settings["demo"] or not entries:
            raise _NotTestedError(f"{self.published.experiment['models'][name]['hub']} is not part of this run")
        if unlike := self.published.unlike(entries[0], trainer, self.settings):
            raise _NotTestedError(f"another experiment than the paper's: {unlike}")
        return entries[0]["name"]

    def difference(self, claim: dict, model: str, trainer: str, terms: dict) -> Difference:
        plus, minus = ([_read(term) for term in terms[side]] for side in ("plus", "minus"))
        seeds = self.settings["seeds"]
        by_seed = [
            sum(self.score(claim["metric"], model, trainer, seed, cell) for cell in plus)
            - sum(self.score(claim["metric"], model, trainer, seed, cell) for cell in minus)
            for seed in seeds
        ]
        ours = round(mean(by_seed), 9)  # sums of equal scores differ in their last bits
        bounds, spread = self.chance(claim["metric"], by_seed, lambda: (model, trainer, seeds[0], plus[0], minus[0]))
        name = f"{' + '.join(map(_cell, plus))} - {' - '.join(map(_cell, minus))}"
        verdict = _of_difference(claim["direction"], ours, bounds)
        return Difference(name, ours, self.printed(claim, plus, minus), spread, verdict)

    def score(self, metric: str, model: str, trainer: str, seed: int, cell: Cell) -> float:
        if cell == ORACLE:
            if not self.settings["ood"]["same_rows"]:
                raise _NotTestedError("ood.same_rows is false: the oracle learned from other rows than the SAEs")
            return 100 * self.scores.oracle(model)
        p, l0 = cell
        stream = self.stream_of.get(p)
        key = "ood.auc" if metric == "ood" else self.metrics[metric].key
        if stream is None or not self.scores.has(model, stream, trainer, l0, seed, key):
            raise _NotTestedError(f"no {metric} at p = {p:g}, l0 = {l0} in scores.csv")
        value = self.scores.value(model, stream, trainer, l0, seed, key)
        return 100 * value if metric == "ood" else self.metrics[metric].scaled(value)

    def chance(self, metric: str, by_seed: list[float], pair: Callable[[], tuple]) -> tuple[Bounds | None, str]:
        """Where the true difference may lie: by our seeds, by the paired bootstrap, or by the spread that is known.

        None if nothing is known of it: then the sign says something of these SAEs, and nothing of others.
        """
        ours = mean(by_seed)
        if len(by_seed) > 1:
            half = float(t.ppf(0.975, len(by_seed) - 1)) * stdev(by_seed) / len(by_seed) ** 0.5
            return (ours - half, ours + half), f"95% interval over {len(by_seed)} seeds: +/- {half:.3f}"
        if metric == "ood":
            low, high = (100 * bound for bound in self.interval(*pair()))
            return (low, high), f"95% interval over test rows, paired: {low:.3f} to {high:.3f}"
        if self.spread[metric] is None:
            return None, SIGN_ONLY
        half = self.spread[metric]
        return (ours - half, ours + half), f"known spread {half:g}"

    def printed(self, claim: dict, plus: list[Cell], minus: list[Cell]) -> float | None:
        """The same difference of the paper's own table."""
        if claim["metric"] == "ood":
            return float(claim["stated"]) if claim["stated"] else None
        label = self.metrics[claim["metric"]].label
        values = self.published.values(claim["model"], label, plus + minus)
        return sum(values[: len(plus)]) - sum(values[len(plus) :]) if values else None

    def weakest(self, claim: dict, differences: list[Difference]) -> tuple[str, str]:
        if claim["direction"] == "none":
            return NOT_TESTED, "the claim names neither a direction nor a bound"
        found = [difference.verdict for difference in differences]
        counts = ", ".join(f"{found.count(kind)} {kind}" for kind in WEAKEST_FIRST[::-1] if kind in found)
        why = differences[0].spread if len(found) == 1 else f"of {len(found)} differences: {counts}"
        if len(found) > 1 and differences[0].spread == SIGN_ONLY:
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


def streams_by_p(settings: dict) -> dict[float, str]:
    """{p: the first stream that masks with it}"""
    return {float(stream["p"]): stream["name"] for stream in reversed(settings["streams"])}


def _read(term: list | str) -> Cell:
    return ORACLE if term == ORACLE else (float(term[0]), term[1])


def _cell(cell: Cell) -> str:
    return ORACLE if cell == ORACLE else f"{cell[0]:g}@{cell[1]}"
