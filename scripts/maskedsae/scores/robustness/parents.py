"""Absorption without a spelling task: of properties that each token is known to have (labels.py).

What the spelling task asks of a letter is asked here of a parent: is its latent silent although the token has it, and
do other latents then carry its direction? Directions are those of probes on raw activations. The criteria are those of
SAEBench's absorption eval (sae_bench.evals.absorption.feature_absorption).
"""

import torch
from torch.nn.functional import cosine_similarity

from ..ood.latents import Encoder
from .latents import Numbers, with_l0
from .probes import Probe
from .texts import Texts

FULL_COSINE, FRACTION_COSINE = 0.025, 0.1  # the least cosine of an absorbing latent with the direction
SHARE_OF_PROJECTION = 0.4  # how much of the activation's projection the absorbing latents carry, at least
ABSORBING_LATENTS = 3  # at most, together


def parents_scores(encode: Encoder, texts: Texts, nominal: int | None, rates: tuple[float, ...]) -> dict[str, object]:
    """With the SAE's own threshold; and with thresholds at which its clean l0 is the nominal one, and nominal / (1 - p)
    for each rate of the configuration's streams. An imported SAE has no nominal l0."""
    found, latents = of_all(encode, texts)
    scores: dict[str, object] = dict(found)
    targets = set() if nominal is None else {float(nominal), *(nominal / (1 - p) for p in rates)}
    for target in sorted(targets):
        other = with_l0(encode, texts.train.x, target)
        if other is not None:
            scores[f"l0_{target:.1f}".removesuffix(".0")] = of_all(other, texts)[0]
    return {"latents": latents, "scores": scores}


def of_all(encode: Encoder, texts: Texts) -> tuple[dict[str, Numbers], dict[str, int]]:
    learned, tested = encode(texts.train.x), encode(texts.test.x)
    found: dict[str, Numbers] = {}
    latents = {}
    for parent, probe in texts.probes.items():
        latents[parent] = best_latent(learned, texts.train.labels[parent])
        tokens = (tested, texts.test.x, texts.test.labels[parent])
        found[parent] = of_one(*tokens, latents[parent], probe, encode.weights["W_dec"])
    return {**found, "mean": mean_of(list(found.values()))}, latents


def best_latent(latents: torch.Tensor, labels: torch.Tensor) -> int:
    """The one whose being active predicts the parent with the highest F1; of equal ones the first."""
    active = (latents != 0).float()
    hits = labels.float() @ active
    return int((2 * hits / (active.sum(0) + labels.sum()).clamp(min=1)).argmax())


def of_one(
    latents: torch.Tensor, x: torch.Tensor, labels: torch.Tensor, latent: int, probe: Probe, decoder: torch.Tensor
) -> Numbers:
    active = latents[:, latent] != 0
    hits, predicted, having = int((active & labels).sum()), int(active.sum()), int(labels.sum())
    cosines = cosine_similarity(probe.weights, decoder, dim=-1)
    full, fraction = absorption(latents, x, latent, probe.weights, cosines)
    silent = ~active & labels
    known = labels & (probe.scores(x) > 0)  # as in SAEBench, tokens that the probe on activations gets right
    numbers = {
        "tokens": having,
        "latent_cosine": float(cosines[latent]),
        "missed": (having - hits) / having,
        "precision": hits / predicted if predicted else 0.0,
        "recall": hits / having,
        "f1": 2 * hits / (predicted + having),
        "missed_and_absorbed": int((silent & (fraction > 0)).sum()) / having,
        "full_absorption": float(full[known].double().mean()) if known.any() else 0.0,
        "absorption_fraction": float(fraction[known].mean()) if known.any() else 0.0,
    }
    return with_share(numbers)


def with_share(numbers: Numbers) -> Numbers:
    """And how much of what is missed is absorbed, where anything is missed."""
    missed = numbers["missed"]
    return numbers | ({"absorbed_of_missed": numbers["missed_and_absorbed"] / missed} if missed else {})


def absorption(
    latents: torch.Tensor, x: torch.Tensor, latent: int, direction: torch.Tensor, cosines: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each row, whether it is fully absorbed, and its absorption fraction: as FeatureAbsorptionCalculator has them
    with one main latent."""
    projections = latents * cosines
    of_x = x @ (direction / direction.norm())
    top = projections.argmax(1)
    largest = projections.gather(1, top[:, None])[:, 0]
    carried = (of_x >= 0) & (largest / of_x >= SHARE_OF_PROJECTION)
    full = (latents[:, latent] < 1e-8) & (cosines[top] >= FULL_COSINE) & carried

    main = projections[:, latent]
    others = torch.where((cosines >= FRACTION_COSINE) & (projections > 0), projections, 0)
    others[:, latent] = 0
    absorbing = others.topk(min(ABSORBING_LATENTS, others.shape[1])).values.sum(1)
    taken = torch.minimum(absorbing, of_x - main)
    fraction = torch.where(main <= 0, 1, (taken / (taken + main)).clamp(0, 1))
    none = (main >= of_x) | ~(absorbing / of_x >= SHARE_OF_PROJECTION)
    return full, torch.where(none, 0, fraction).double()


def mean_of(parents: list[Numbers]) -> Numbers:
    """Over parents, whatever their numbers of tokens."""
    keys = [key for key in parents[0] if key not in ("tokens", "absorbed_of_missed")]
    return with_share({key: sum(numbers[key] for numbers in parents) / len(parents) for key in keys})
