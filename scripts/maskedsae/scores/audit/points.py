"""The points of the audit: what each looks at, and when it fires. docs/audit.md has them with their sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ...jobs.files import read_sums, sha256
from ..ood.probes import Floats
from ..ood.rows import Scored
from .settings import Audit

POINTS = {
    "dead": "dead latents",
    "variance": "variance of the loss",
    "l1": "L1 coefficient",
    "decoder_norm": "least decoder norm",
    "masked": "masked latents",
    "checksums": "checksums",
    "false_positives": "false positives",
}
BASELINE = 0.1  # of the training: how long after convergence the variance's baseline is taken

Row = Mapping[str, float | None]  # of training.csv


@dataclass(frozen=True)
class Finding:
    """What a point says. Without a value it does not apply, and `why` says so."""

    value: float | None
    limit: float | None = None
    fires: bool = False
    why: str = ""
    baseline: float | None = None

    def plain(self) -> dict[str, object]:
        if self.value is None:
            return {"applies": False, "why": self.why}
        found: dict[str, object] = {"applies": True, "value": self.value, "limit": self.limit, "fires": self.fires}
        found |= {} if self.baseline is None else {"baseline": self.baseline}
        return found | ({"why": self.why} if self.why else {})


def not_asked(why: str) -> Finding:
    return Finding(None, why=why)


def above(value: float, limit: float, baseline: float | None = None) -> Finding:
    return Finding(value, limit, value > limit, baseline=baseline)


def in_training(row: Row, rows: Sequence[Row], latents: int, audit: Audit) -> dict[str, Finding]:
    """The points that each row of training.csv answers; `rows` are all of them."""
    dormant, norm = row[f"dormant_{audit.dormant_below:.0e}"], row["least_decoder_norm"]
    assert dormant is not None and norm is not None
    masked, l1 = row["masked_latents"], row["l1"]
    return {
        "dead": above(dormant / latents, audit.dead),
        "variance": variance(row, rows, audit),
        "l1": not_asked("the trainer has no L1 penalty") if l1 is None else above(l1, audit.l1),
        "decoder_norm": Finding(norm, audit.decoder_norm, norm < audit.decoder_norm),
        "masked": not_asked("the trainer masks no latent") if masked is None else above(masked / latents, audit.masked),
    }


def variance(row: Row, rows: Sequence[Row], audit: Audit) -> Finding:
    """The baseline is the median over a tenth of the training, from the step on at which it counts as converged."""
    steps = step_of(rows[-1]) + 1
    converged = audit.converged_at * steps
    last = converged + BASELINE * steps
    if step_of(row) < last:
        return not_asked(f"before step {last:,.0f} there is no baseline: converged_at, and a tenth of the steps")
    found = [other["loss_variance"] for other in rows if converged <= step_of(other) < last]
    value = row["loss_variance"]
    if not found or value is None:
        return not_asked("no row of training.csv for the baseline: lower compute.log_every")
    baseline = float(np.median(np.array(found, dtype=float)))
    return above(value, baseline * (1 + audit.variance_rise), baseline)


def step_of(row: Row) -> int:
    return int(row["step"] or 0)


def decoder_norm(weights: Path, audit: Audit) -> Finding:
    """Of the published SAE."""
    norm = float(np.linalg.norm(load_file(weights)["W_dec"], axis=1).min())
    return Finding(norm, audit.decoder_norm, norm < audit.decoder_norm)


def checksums(folder: Path) -> Finding:
    """Whether the files are those that training wrote, and the weights can be read as safetensors."""
    wrong, sums = [], read_sums(folder / "SHA256SUMS")
    for name, digest in sums.items():
        if not (folder / name).exists() or sha256(folder / name) != digest:
            wrong.append(f"{name} is not the file that was written")
    for name in sorted(path.name for path in folder.glob("*.safetensors")):
        if name not in sums:
            wrong.append(f"{name} has no checksum")
        try:
            load_file(folder / name)
        except SafetensorError:
            wrong.append(f"{name} cannot be read as safetensors")
    if not list(folder.glob("*.safetensors")):
        wrong.append("no safetensors file")
    return Finding(len(wrong), 0, bool(wrong), why="; ".join(wrong))


def false_positives(ours: Sequence[Scored], oracle: Sequence[Scored], audit: Audit) -> Finding:
    """How often the probe on the SAE's latents is alarmed by clean text of another kind, beside the probe on raw
    activations; the mean over the data sets."""
    value, baseline = (
        float(np.mean([alarm_rate(*pair, audit.alerts) for pair in _pairs(scored)])) for scored in (ours, oracle)
    )
    return above(value, baseline * (1 + audit.false_positive_rise), baseline)


def _pairs(scored: Sequence[Scored]) -> list[tuple[Floats, Floats]]:
    """Of each data set, the negatives' scores in and out of distribution."""
    negatives = {(rows.dataset, rows.test): rows.scores[rows.labels == 0] for rows in scored}
    names = dict.fromkeys(dataset for dataset, _ in negatives)
    return [(negatives[name, "in_distribution"], negatives[name, "ood"]) for name in names]


def alarm_rate(known: Floats, other: Floats, alerts: float) -> float:
    """The share of `other` above the lowest threshold at which no more than `alerts` of `known` are above it."""
    ordered = np.sort(known)[::-1]
    threshold = ordered[int(alerts * len(ordered))]
    return float((other > threshold).mean())
