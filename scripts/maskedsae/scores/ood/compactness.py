"""How many latents a probe needs to come near the oracle, which has all of the raw activations."""

from collections.abc import Mapping
from math import log2

SHARE = 0.95  # of the oracle's mean AUC (and not of its excess over 0.5, the AUC of guessing)


def latents_for_95(aucs: Mapping[int, float], oracle: float) -> float | None:
    """{k: mean AUC} of probes on k latents first reaches 95% of `oracle` here, linear in log k between two k; the
    smallest k where that is enough, None where none is."""
    ks = sorted(aucs)
    goal = SHARE * oracle
    reached = next((i for i, k in enumerate(ks) if aucs[k] >= goal), None)
    if reached is None:
        return None
    if reached == 0:
        return float(ks[0])
    low, high = ks[reached - 1], ks[reached]
    part = (goal - aucs[low]) / (aucs[high] - aucs[low])
    return float(2 ** (log2(low) + part * log2(high / low)))
