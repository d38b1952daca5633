"""scores/planted.json: an SAE against the truth that made its rows, on clean rows that no SAE learned from.

All numbers are exact, given which latent stands for which feature: the one whose decoder direction has the largest
cosine with the feature's.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from ...activations.planted.settings import PlantedFacts
from ...activations.planted.truth import Draw, Truth, read_facts
from ...jobs.compute import Compute
from ...jobs.device import set_threads
from ...jobs.errors import InputError
from ...jobs.files import write_json
from ...jobs.log import log
from ...saes.cells import Cell
from ..ood.latents import Encoder
from ..robustness.latents import with_l0
from .settings import PlantedScoring

RECOVERED = 0.9  # cosine from which a feature counts as found


def write_scores(outputs: Sequence[str], model_file: str | Path, settings: PlantedScoring, compute: Compute) -> None:
    """planted.json of each cell that `outputs` are in."""
    set_threads(compute.threads)
    heldout = HeldOutTruth(read_facts(model_file), settings.stream_seed)
    for output in outputs:
        cell = Cell.parse(output)
        sae = Encoder(cell.folder / "sae")
        scores = heldout.scores(sae) | dict(heldout.at_thresholds(sae, cell.l0, settings.rates))
        write_json(output, scores)
        log.info(
            "%s: parents missed %.3f of the time beside a child, %.3f alone; l0 %.1f",
            *(cell.words, scores["missed"], scores["missed_alone"], scores["l0"]),
        )


class HeldOutTruth:
    """A truth, clean rows of it with their active features, and filler rows."""

    def __init__(self, facts: PlantedFacts, seed: int):
        truth = Truth(facts, seed)
        self.planted, self.families, self.directions = facts.planted, truth.families, truth.directions
        self.features = truth.features(self.planted.heldout_rows, Draw.HELDOUT)
        self.rows = truth.activations(self.features)
        self.filler = truth.filler(self.planted.heldout_rows, Draw.HELDOUT_NOISE)
        present, with_child = self.parents_and_children()
        self.beside, self.alone = present & with_child, present & ~with_child
        if not (self.beside.any() and self.alone.any()):
            raise InputError(
                f"models: {facts.name}: planted.heldout_rows: in {self.planted.heldout_rows} rows no parent is active "
                "with a child, or none without: raise it"
            )

    @torch.no_grad()
    def scores(self, sae: Encoder) -> dict[str, float]:
        decoder = sae.weights["W_dec"]
        unit = decoder / decoder.norm(dim=1, keepdim=True).clamp(min=1e-8)
        cosines, latents = (self.directions @ unit.T).clamp(max=1).max(dim=1)  # 1 + 1e-7 is rounding
        active = sae(self.rows)
        found = {"l0": mean(active != 0) * len(decoder), "l0_on_filler": mean(sae(self.filler) != 0) * len(decoder)}
        residual = self.rows - (active @ decoder + sae.weights["b_dec"])
        variance = (self.rows - self.rows.mean(0)).double().pow(2).sum()
        found["explained_variance"] = 1 - (residual.double().pow(2).sum() / variance).item()
        found |= self.missed(active, latents)
        found["absorption_fraction"] = self.absorption_fraction(active, latents, decoder)
        for kind, which in self.kinds().items():
            found[f"{kind}_cosine"] = cosines[which].mean().item()
            found[f"{kind}_recovered"] = mean(cosines[which] >= RECOVERED)
        return found

    def kinds(self) -> dict[str, slice]:
        first = self.planted.parents
        last = first * (1 + self.planted.children)
        return {"parents": slice(0, first), "children": slice(first, last), "free": slice(last, None)}

    def parents_and_children(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Where a parent is active, and where one of its children is (rows x parents)."""
        return self.features[:, : self.planted.parents] > 0, (self.features[:, self.families] > 0).any(dim=-1)

    def missed(self, active: torch.Tensor, latents: torch.Tensor) -> dict[str, float]:
        """How often a parent's latent is silent though the parent is active: beside a child, and without any. More
        beside a child is absorption."""
        silent = active[:, latents[: self.planted.parents]] == 0
        beside, alone = mean(silent[self.beside]), mean(silent[self.alone])
        return {"missed": beside, "missed_alone": alone, "absorbed": beside - alone}

    def absorption_fraction(self, active: torch.Tensor, latents: torch.Tensor, decoder: torch.Tensor) -> float:
        """Where a parent and a child are active: how much of the parent's direction the active children's latents put
        in, of what these and the parent's latent do. What a child's own direction has of the parent's is not counted.
        """
        parents = self.directions[: self.planted.parents]
        own = active[:, latents[: self.planted.parents]] * (decoder[latents[: self.planted.parents]] * parents).sum(1)
        children = self.directions[self.families]
        written = decoder[latents[self.families]]
        along = (written * parents[:, None]).sum(-1)
        along -= (written * children).sum(-1) * (children * parents[:, None]).sum(-1)
        absorbed = (active[:, latents[self.families]] * along * (self.features[:, self.families] > 0)).sum(-1)
        both = own[self.beside].sum() + absorbed[self.beside].sum()
        return (absorbed[self.beside].sum() / both).item() if both else 0.0

    def at_thresholds(self, sae: Encoder, l0: int, rates: Iterable[float]) -> Iterator[tuple[str, float]]:
        """The same scores with the threshold at which the l0 on these rows is the nominal one, and that which masking
        at a rate frees. For SAEs with one threshold for all latents."""
        threshold = sae.weights.get("threshold")
        if threshold is None or (threshold != threshold[0]).any():
            return
        targets = {"nominal": float(l0)} | {f"freed_{100 * p:g}": l0 / (1 - p) for p in rates}
        for name, target in targets.items():
            if (reset := with_l0(sae, self.rows, target)) is not None:
                for key, value in self.scores(reset).items():
                    yield f"at_{name}.{key}", value


def mean(values: torch.Tensor) -> float:
    """Of truth values."""
    return values.double().mean().item()
