"""audit.json of one SAE: what its training showed every so many steps, and what the finished SAE shows."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...jobs.errors import InputError
from ...jobs.files import read_json, write_json
from ...jobs.log import log
from ...jobs.typed import plain
from ...saes.cells import Cell
from ..ood.rows import read_scores
from .points import POINTS, Finding, Row, checksums, decoder_norm, false_positives, in_training, not_asked, step_of
from .settings import Audit, AuditSettings

AT_THE_END = "only the finished SAE is asked"


def write_audit(to: str | Path, training: str | Path, probes: list[str], settings: AuditSettings) -> None:
    """`training` is the cell's training.csv, beside its folder sae/. `probes`: its ood_rows.csv and its model's
    oracle_rows.csv; none on a planted truth."""
    found = audit(Path(training), probes, settings.audit)
    write_json(to, found)
    words = ", ".join(POINTS[name] for name in found["audits"][-1]["fires"])
    log.info("%s: the audit says: %s", Cell.parse(to).words, words or "nothing to object to")


def audit(training: Path, probes: list[str], settings: Audit) -> dict[str, Any]:
    folder, rows = training.parent / "sae", read_training(training)
    latents = read_json(folder / "cfg.json")["d_sae"]
    later = {"checksums": not_asked(AT_THE_END), "false_positives": not_asked(AT_THE_END)}
    audits = [
        (step_of(row), in_training(row, rows, latents, settings) | later) for row in audited(rows, settings.every)
    ]
    _, last = audits[-1]
    last |= {"checksums": checksums(folder), "false_positives": alerts(probes, settings)}
    if not last["checksums"].fires:  # otherwise the weights may not be its own
        last["decoder_norm"] = decoder_norm(folder / "sae_weights.safetensors", settings)
    return {
        "thresholds": plain(settings),
        "audits": [{"step": step, "fires": fired(points), "points": plain(points)} for step, points in audits],
    }


def fired(points: dict[str, Finding]) -> list[str]:
    return [name for name in POINTS if points[name].fires]


def audited(rows: list[Row], every: int) -> list[Row]:
    """The first row at or after each multiple of `every`, and the last of all."""
    found = [row for before, row in pairwise(rows) if step_of(row) // every > step_of(before) // every]
    return [row for row in found if row is not rows[-1]] + [rows[-1]]


def alerts(probes: list[str], settings: Audit) -> Finding:
    if not probes:
        return not_asked("a planted truth has no text that a probe could read")
    ours, oracle = (list(read_scores(path).values()) for path in probes)
    return false_positives(ours, oracle, settings)


def read_training(path: Path) -> list[Row]:
    """training.csv, with None where a trainer has no such thing."""
    try:
        with open(path, newline="") as file:
            rows: list[Row] = [
                {name: float(value) if value else None for name, value in line.items()} for line in csv.DictReader(file)
            ]
        if not rows or rows[0]["loss_variance"] is None:
            raise ValueError("no row in it")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not of the form of a training.csv ({error!r}): train this SAE again") from error
    return rows
