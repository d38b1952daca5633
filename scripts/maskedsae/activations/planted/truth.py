"""A planted truth, built with sae_lens.synthetic: features with known directions, in a hierarchy of two levels.

Each stream seed has a truth of its own, so that seeds are samples of worlds and not only of rows. Rows are counted, not
drawn: those of a block are a pure function of the seeds and the block's number.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import numpy as np
import torch

from ...jobs.files import read_json, write_json
from ...jobs.typed import plain, read
from .settings import Planted, PlantedFacts, TruthSettings


class Draw(IntEnum):
    """What random numbers are for: each use has its own."""

    DIRECTIONS = 0
    CORRELATION = 1
    FILLER = 2
    ROWS = 3
    OTHER_ROWS = 4  # from which broken rows have their children
    NOISE = 5
    HELDOUT = 6
    HELDOUT_NOISE = 7


def read_facts(path: str | Path) -> PlantedFacts:
    """model.json, as rule `truth` wrote it."""
    return read(PlantedFacts, read_json(path), f"{path}: ")


def write_facts(path: str | Path, settings: TruthSettings) -> None:
    write_json(path, plain(describe(settings)))


def describe(settings: TruthSettings) -> PlantedFacts:
    planted = settings.planted
    families = planted.parents * planted.parent_rate * (1 + planted.children * planted.child_rate)
    l0 = families + float(free_rates(planted).sum())
    return PlantedFacts(settings.name, planted.width, planted.features, round(l0, 6), planted)


def free_rates(planted: Planted) -> torch.Tensor:
    from sae_lens.synthetic import zipfian_firing_probabilities

    rates = planted.free_rates
    made: torch.Tensor = zipfian_firing_probabilities(planted.free, rates.exponent, rates.most, rates.least)
    return made


class Truth:
    """Features in the order parents, children (those of the first parent first), free ones."""

    def __init__(self, facts: PlantedFacts, seed: int):
        # Imported late: it takes seconds, and keeps a process from starting CUDA in its forks.
        from sae_lens.synthetic import (
            ActivationGenerator,
            FeatureDictionary,
            HierarchyNode,
            generate_random_low_rank_correlation_matrix,
            hierarchy_modifier,
        )

        self.facts, self.name, self.seed = facts, facts.name, seed
        self.planted = planted = facts.planted
        self.families = families_of(planted)
        with torch.enable_grad():  # the dictionary is made nearly orthogonal by gradient descent
            dictionary = FeatureDictionary(planted.features, planted.width, seed=self.number(Draw.DIRECTIONS))
        self.directions: torch.Tensor = dictionary.feature_vectors.detach()
        parents = torch.full((planted.parents,), planted.parent_rate)
        children = torch.full((planted.parents * planted.children,), planted.child_rate)
        rates = torch.cat([parents, children, free_rates(planted)])
        correlation = None
        if planted.correlation.scale:
            seed_of_it = self.number(Draw.CORRELATION)
            factor, rest = generate_random_low_rank_correlation_matrix(
                planted.features, planted.correlation.rank, planted.correlation.scale, seed_of_it
            )
            # A child that was correlated with its parent would not have its rate where the parent is active.
            factor[self.families], rest[self.families] = 0.0, 1.0
            correlation = (factor, rest)
        roots = [
            HierarchyNode(parent, [HierarchyNode(child) for child in family])
            for parent, family in enumerate(self.families.tolist())
        ]
        self._generator = ActivationGenerator(
            planted.features,
            rates,
            std_firing_magnitudes=planted.spread,
            modify_activations=hierarchy_modifier(roots),
            correlation_matrix=correlation,
        )
        with drawing(self.number(Draw.FILLER)):
            direction = torch.randn(planted.width)
        self._filler: torch.Tensor = planted.filler.scale * direction / direction.norm()

    def number(self, draw: Draw, block: int = 0) -> int:
        """The seed of these random numbers."""
        return int(np.random.SeedSequence([self.seed, draw, block]).generate_state(1)[0])

    def features(self, rows: int, draw: Draw, block: int = 0) -> torch.Tensor:
        """Each row's active features (rows x features)."""
        with drawing(self.number(draw, block)):
            active: torch.Tensor = self._generator.sample(rows)
        return active

    def activations(self, features: torch.Tensor) -> torch.Tensor:
        return features @ self.directions

    def filler(self, count: int, draw: Draw, block: int = 0) -> torch.Tensor:
        with drawing(self.number(draw, block)):
            noise = torch.randn(count, self.planted.width)
        rows: torch.Tensor = self._filler + noise * (self.planted.filler.noise / self.planted.width**0.5)
        return rows


def families_of(planted: Planted) -> torch.Tensor:
    """The children's numbers (parents x children)."""
    children = torch.arange(planted.parents, planted.parents * (1 + planted.children))
    return children.view(planted.parents, planted.children)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Within it, torch's own generator on the CPU, which sae_lens draws from, has this seed."""
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
