"""What is planted: section `planted` of a model's entry, and the facts that a rule writes about it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Zipf:
    """Rates that fall with the rank, from `most` to `least`."""

    exponent: float
    most: float
    least: float


@dataclass(frozen=True)
class Correlation:
    """Correlations of which parents and free features are active: a random matrix of low rank. Scale 0: none."""

    rank: int
    scale: float


@dataclass(frozen=True)
class Filler:
    """The rows of touched positions: one fixed vector of norm `scale`, and noise whose norm is about `noise`."""

    scale: float
    noise: float


@dataclass(frozen=True)
class Planted:
    """A truth: each feature has a direction, and a row is the sum of its active features."""

    width: int
    parents: int
    children: int  # of each parent; one is active only where its parent is
    parent_rate: float
    child_rate: float  # where the parent is active
    free: int  # features that are neither
    free_rates: Zipf
    spread: float  # standard deviation of an active feature's size, whose mean is 1
    correlation: Correlation
    filler: Filler
    broken: float
    heldout_rows: int

    @property
    def features(self) -> int:
        return self.parents * (1 + self.children) + self.free


@dataclass(frozen=True)
class TruthSettings:
    """The settings of rule `truth`."""

    name: str
    planted: Planted
    code: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlantedFacts:
    """A planted model's model.json. The name and these settings, with a stream's seed, are all that a truth is."""

    name: str
    width: int
    features: int
    l0: float  # features active in a clean row, on average
    planted: Planted

    # What a language model has, and dictionary_learning and SAELens write beside an SAE.
    @property
    def hub(self) -> None:
        return None

    @property
    def layer(self) -> int:
        return 0

    @property
    def hook(self) -> str:
        return "planted"
