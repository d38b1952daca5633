"""Paired differences of two SAEs' probes: from the rows that both scored, with the same resamples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..jobs.errors import InputError
from ..saes.cells import Cell
from ..scores.ood.rows import TESTS, interval, read_scores, summary
from .settings import DifferenceSettings


def paired_difference(one: str | Path, other: str | Path, resamples: int = 1000, seed: int = 1) -> dict[str, Any]:
    """AUCs of `one` less those of `other` (say, a masked SAE and its baseline), from their ood_rows.csv."""
    ones, others = read_scores(one), read_scores(other)
    if ones.keys() != others.keys():
        raise InputError(f"{one} and {other}: not of the same data sets")
    result: dict[str, Any] = {}
    for test in TESTS:
        differences, resampled, by_dataset = [], [], {}
        for key in [key for key in ones if key[1] == test]:
            a, b = ones[key], others[key]
            if not (np.array_equal(a.rows, b.rows) and np.array_equal(a.labels, b.labels)):
                raise InputError(
                    f"{one} and {other}: not of the same rows of {a.dataset}: probe both with one protocol"
                )
            differences.append(a.auc - b.auc)
            resampled.append(a.resampled_aucs(resamples, seed) - b.resampled_aucs(resamples, seed))
            by_dataset[a.dataset] = {"difference": differences[-1], "interval": interval(resampled[-1])}
        result[test] = summary(differences, resampled) | {"datasets": by_dataset}
    return result


def differences(paths: list[str], settings: DifferenceSettings) -> list[dict[str, Any]]:
    """For each SAE of these ood_rows.csv whose baseline is among them: its AUCs less the baseline's, paired by row.

    An SAE's baseline has the same model, trainer, l0 and seed, and was trained on the stream without corruption.
    """
    if missing := [path for path in paths if not Path(path).exists()]:
        raise InputError(f"{missing[0]}: missing: ask Snakemake for it, and its job says why it cannot be made")
    baseline_stream = next((stream.name for stream in settings.streams if stream.is_baseline), None)
    files = {Cell.parse(path): path for path in paths}
    found = []
    for cell, path in files.items():
        baseline = replace(cell, stream=baseline_stream or "")
        if baseline != cell and baseline in files:
            paired = paired_difference(path, files[baseline], settings.bootstrap, settings.seed)
            tests = {test: {key: paired[test][key] for key in ("mean", "interval")} for test in TESTS}
            sae = {key: getattr(cell, key) for key in ("model", "stream", "trainer", "l0", "seed")}
            about = {"less": baseline.stream, "demo": settings.demo}
            found.append(sae | about | tests | {"sources": [path, files[baseline]]})
    return found
