"""The measurements of docs/article.md, from the finished run: python profiles/article/measure.py results/article.

Prints, of each trainer against `unmasked`, means over seeds with 95% t intervals; and how often an audit's point
`variance` fires by chance.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from dictionary_learning.utils import load_dictionary

from maskedsae.activations.planted.truth import Draw, Truth, read_facts
from maskedsae.inference.statistics import estimate
from maskedsae.jobs.files import read_json
from maskedsae.saes.watching import WINDOW

CONTROL = "unmasked"
TURNED = 0.999  # a decoder direction is another one below this cosine
AUDITS = 20_000


def losses(cell: Path) -> float:
    with open(cell / "training.csv", newline="") as file:
        return float(list(csv.DictReader(file))[-1]["loss_variance"])


def errors(cell: Path, rows: torch.Tensor) -> float:
    """The variance of the squared error over held-out rows."""
    with torch.no_grad():
        squared = (rows - load_dictionary(str(cell / "sae"), device="cpu")[0](rows)).double().pow(2).sum(1)
    return float(squared.var())


def turned(cell: Path, control: Path) -> int:
    one, other = (torch.load(path / "sae/ae.pt", weights_only=True)["decoder.weight"] for path in (cell, control))
    return int((torch.cosine_similarity(one, other, dim=0) < TURNED).sum())


def interval(values: list[float], form: str) -> str:
    found = estimate(values)
    return f"{found.mean:{form}} ({found.low:{form}} to {found.high:{form}})"


def by_chance() -> float:
    """The share of audits whose variance of 500 losses is 5% above the median of such variances, a tenth of a training
    of 18,000 steps with a row every 100 of them; all losses are independent and of one normal distribution."""
    random, fired = np.random.default_rng(0), 0
    for _ in range(AUDITS):
        early, late = random.standard_normal(WINDOW + 1_800), random.standard_normal(WINDOW)
        baseline = np.median([early[end - WINDOW : end].var() for end in range(WINDOW, len(early), 100)])
        fired += late.var() > 1.05 * baseline
    return fired / AUDITS


def main(run: Path) -> None:
    seeds = sorted(run.glob(f"planted/clean/{CONTROL}/l0_*/seed_*/sae/quality.json"))
    controls = [path.parents[1] for path in seeds]
    facts = read_facts(run / "planted/model.json")
    heldout = []
    for control in controls:
        truth = Truth(facts, int(control.name.removeprefix("seed_")))
        heldout.append(truth.activations(truth.features(facts.planted.heldout_rows, Draw.HELDOUT)))
    print(f"n = {len(controls)}: {', '.join(control.name for control in controls)}")
    for trainer in sorted({path.parents[1].name for path in run.glob("planted/clean/*/l0_*/seed_*")} - {CONTROL}):
        cells = [Path(str(control).replace(f"/{CONTROL}/", f"/{trainer}/")) for control in controls]

        def change(measure: Callable[..., float], *of: list[torch.Tensor], cells: list[Path] = cells) -> list[float]:
            pairs = zip(cells, controls, *of, strict=True)
            return [100 * (measure(cell, *rest) / measure(control, *rest) - 1) for cell, control, *rest in pairs]

        quality = [[read_json(cell / "sae/quality.json") for cell in of] for of in (cells, controls)]
        print(trainer)
        print(f"  variance of the last {WINDOW} losses, in %: {interval(change(losses), '+.2f')}")
        print(f"  variance of the squared error, in %: {interval(change(errors, heldout), '+.2f')}")
        for key, form in (("explained_variance", "+.6f"), ("l0", "+.3f"), ("dead_latents", "+.1f")):
            print(
                f"  {key}, less: {interval([one[key] - other[key] for one, other in zip(*quality, strict=True)], form)}"
            )
        print(f"  dead: {[one['dead_latents'] for one in quality[0]]} of {quality[0][0]['latents']}")
        print(f"  directions that differ: {[turned(*pair) for pair in zip(cells, controls, strict=True)]}")
    print(f"the point `variance` fires by chance in {by_chance():.1%} of {AUDITS:,} audits")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
