"""Mutual information between a letter's parent latent and its children, in one fixed dictionary, on clean and masked
text.

The children of a letter are latents that are active on hardly anything but tokens of this letter: where one is active,
the parent is known too, and an SAE saves a latent by not activating the parent. Masking, says the paper, takes this
co-occurrence apart. Whether it does is a property of the activations, so it is measured with one dictionary.
"""

from string import ascii_lowercase
from typing import Any

import torch

from ..ood.latents import Encoder
from ..robustness.parents import best_latent
from ..robustness.texts import Reading, Texts

FEWEST_TOKENS = 20  # of a letter, to choose its parent by
FEWEST_ACTIVE = 5  # tokens on which a child is active, to choose it by
PRECISION = 0.8  # of a child: the share of the tokens on which it is active that have its letter


def mutual_information(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """In bits, of a yes or no per row (rows) and several (rows, columns): one number a column."""
    total, information = len(one), torch.zeros(other.shape[1], dtype=torch.float64)
    for a in (one, ~one):
        for b in (other, ~other):
            joint = (a[:, None] & b).sum(0).double() / total
            independent = a.double().mean() * b.double().mean(0)
            information += torch.where(joint > 0, joint * (joint / independent).log2(), 0.0)
    return information


def children(active: torch.Tensor, labels: torch.Tensor, parent: int) -> torch.Tensor:
    """The numbers of the latents that are active on tokens of a letter almost only."""
    counts, hits = active.sum(0), (active & labels[:, None]).sum(0)
    found = (counts >= FEWEST_ACTIVE) & (hits >= PRECISION * counts)
    found[parent] = False
    return found.nonzero()[:, 0]


def letters(encode: Encoder, texts: Texts, streams: dict[str, Reading]) -> dict[str, dict[str, Any]]:
    """Of each letter that has a parent and a child: the information on clean text, and for each stream (what it makes
    of the text) its change, at the tokens that it leaves untouched. Latents are chosen on other text."""
    learned, clean = encode(texts.train.x), encode(texts.test.x) != 0
    masked = {name: encode(reading.x) != 0 for name, reading in streams.items()}
    found: dict[str, dict[str, Any]] = {}
    for number, letter in enumerate(ascii_lowercase):
        labels = texts.train.letters == number
        if int(labels.sum()) < FEWEST_TOKENS:
            continue
        parent = best_latent(learned, labels)
        below = children(learned != 0, labels, parent)
        if not len(below):
            continue

        def information(active: torch.Tensor, has: torch.Tensor, parent: int = parent, below: Any = below) -> Any:
            pairs = {"parent": active[:, parent], "label": has}
            return {key: float(mutual_information(one, active[:, below]).mean()) for key, one in pairs.items()}

        has = texts.test.letters == number
        found[letter] = {"parent": parent, "children": below.tolist(), "tokens": int(has.sum())}
        found[letter]["clean"] = information(clean, has)
        for name, reading in streams.items():
            before = information(clean[reading.rows], has[reading.rows])
            after = information(masked[name], has[reading.rows])
            found[letter][name] = after | {f"{key}_change": after[key] - before[key] for key in after}
    return found
