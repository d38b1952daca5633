"""contrasts.csv and verdicts.json, from scores.csv and the paper's published numbers."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..jobs.files import write_json
from ..jobs.log import log
from ..jobs.typed import plain
from ..scores.table import Scores, read_rows
from .contrasts import contrasts, write_contrasts
from .decisions import assays, decide
from .published import read_published
from .questions import metric_of
from .settings import Shown
from .verdicts import claims, verdicts


def write_inference(
    scores_csv: str | Path, published_files: Sequence[str], shown: Shown, contrasts_to: str, verdicts_to: str
) -> None:
    """`published_files`: those of reference/."""
    scores, published = Scores(read_rows(scores_csv)), read_published(Path(published_files[0]).parent)
    asked = [question for claim in claims(shown, published) for question in claim.questions]
    rows, known = contrasts(shown, scores, asked), assays(shown, scores)
    decisions = decide(shown, rows, known)
    write_contrasts(contrasts_to, rows)
    found = {
        "demo": shown.demo,
        "analysis": plain(shown.analysis),
        "metrics": {name: metric_of(shown, name).key for name in shown.analysis.endpoints},
        "data_seeds": len(shown.seed_groups),
        "assays": [asdict(assay) for assay in known],
        "decisions": [asdict(decision) for decision in decisions],
        "claims": [asdict(verdict) for verdict in verdicts(shown, published, rows, decisions)],
    }
    write_json(verdicts_to, found)
    log.info("%s: %d contrasts; %s: the verdicts", contrasts_to, len(rows), verdicts_to)
