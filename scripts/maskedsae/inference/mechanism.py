"""Does the change that masking makes in parent-child information predict, letter by letter, that in absorption?"""

from collections.abc import Sequence
from itertools import product
from math import atanh, sqrt, tanh
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm, spearmanr

from ..jobs.files import write_json
from ..jobs.log import log
from ..saes.cells import Cell
from ..scores.mechanism.information import letters
from ..scores.ood.latents import Encoder
from ..scores.robustness.texts import read_texts, spelled
from ..scores.table import Scores, read_rows
from .equal_l0 import baseline_at_l0_of
from .settings import MechanismSettings

ABSORPTION = {"full": "full_absorption_rate", "fraction": "mean_absorption_fraction"}  # SAEBench's, of each letter
AT = ("nominal", "matched")  # the l0 at which a masked SAE is compared with its baseline
FEWEST_LETTERS = 5


def mechanism(
    by_letter: dict[str, dict[str, Any]], scores: Scores, settings: MechanismSettings
) -> list[dict[str, Any]]:
    """For each stream, trainer, l0 and kind of absorption: the change of both in each letter, and how they correlate.

    A letter's change in absorption is the masked SAE's less the baseline's, the mean over seeds. If the paper's
    explanation holds, a letter whose information falls more has an absorption that falls more: rho is positive.
    """
    found = []
    for stream, trainer in product(settings.streams, settings.trainers):
        for l0, (kind, key), at in product(settings.l0s[stream.name], ABSORPTION.items(), AT):
            # The reference dictionary is of the first seed: its own noise must not be on both sides of a correlation.
            seeds = settings.seeds[1:] or settings.seeds
            cells = [settings.cell(stream.name, trainer, l0, seed) for seed in seeds]
            changes = {
                letter: change
                for letter in by_letter
                if (change := _change(cells, f"absorption.{letter}.{key}", at, scores, settings)) is not None
            }
            about = {"stream": stream.name, "trainer": trainer, "l0": l0, "seeds": len(cells)}
            for pair in ("parent", "label"):
                information = [by_letter[letter][stream.name][f"{pair}_change"] for letter in changes]
                rho = correlation(information, list(changes.values()))
                found.append(about | {"absorption": kind, "at": at, "information": pair, **rho, "letters": changes})
    return found


def _change(cells: Sequence[Cell], metric: str, at: str, scores: Scores, settings: MechanismSettings) -> float | None:
    """None where SAEBench left the letter out, or where some seed has no baseline to compare with."""
    changes = []
    for cell in cells:
        l0s = settings.l0s[settings.baseline] if at == "matched" else (cell.l0,)
        baselines = [settings.cell(settings.baseline, cell.trainer, l0, cell.seed) for l0 in l0s]
        if not all(scores.has(each, metric) for each in (cell, *baselines)) or not baselines:
            return None
        if at == "matched":
            base = baseline_at_l0_of(cell, baselines, metric, scores)
        else:
            base = scores.value(baselines[0], metric)
        if base is None:
            return None
        changes.append(scores.value(cell, metric) - base)
    return float(np.mean(changes))


def correlation(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Spearman's rho with its 95% interval (Fisher's z with the variance of Bonett and Wright, 2000) and p (t). Null
    with too few letters, or where one side is the same for all."""
    n = len(one)
    if n < FEWEST_LETTERS or len(set(one)) == 1 or len(set(other)) == 1:
        return {"n": n, "rho": None, "interval": None, "p": None}
    rho, p = map(float, spearmanr(one, other))
    half = norm.ppf(0.975) * sqrt((1 + rho**2 / 2) / (n - 3))
    z = atanh(np.clip(rho, -1 + 1e-9, 1 - 1e-9))
    return {"n": n, "rho": rho, "interval": [tanh(z - half), tanh(z + half)], "p": p}


def write_mechanism(
    path: str | Path, activations: str | Path, weights: str | Path, scores: str | Path, settings: MechanismSettings
) -> None:
    """`weights` is the reference SAE's file for SAELens."""
    texts = read_texts(activations)
    readings = {
        stream.name: texts.streams[spelled(stream.corruption)] for stream in settings.streams if stream.corruption
    }
    by_letter = letters(Encoder(Path(weights).parent), texts, readings)
    correlations = mechanism(by_letter, Scores(read_rows(scores)), settings)
    reference = Cell.parse(weights)
    write_json(path, {"reference": str(reference.folder), "letters": by_letter, "correlations": correlations})
    log.info("%s: parents and children of %d letters, with %s", settings.model, len(by_letter), reference.words)
