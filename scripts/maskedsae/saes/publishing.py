"""Publishing a trained SAE: its files, its quality and its provenance."""

from typing import Any

from dictionary_learning.utils import load_dictionary

from ..jobs.files import write_json
from ..jobs.log import log
from ..jobs.provenance import provenance
from . import formats, quality
from .learner import Learner
from .sources import Source


def publish(learners: list[Learner], source: Source, device: str) -> None:
    """Write every cell's files, then measure the SAEs as written."""
    saes = []
    for learner in learners:
        assert learner.final_weights is not None
        learner.write_log()
        learner.lease.check()
        config = learner.final_config | {"norm_factor": learner.norm_factor}
        formats.write(learner.folder / "sae", learner.final_weights, config, source.rows.config, source.facts.hook)
        sae, _ = load_dictionary(str(learner.folder / "sae"), device=device)
        saes.append((sae, learner.cell.l0))
    measured = quality.measure(saes, source.facts.name, source.heldout())
    for learner, row in zip(learners, measured, strict=True):
        learner.lease.check()
        write_json(learner.folder / "sae" / "quality.json", row)
        write_json(learner.folder / "sae" / "provenance.json", origin(learner, device))
        log.info(
            "%s: l0 %.1f on clean text (nominal %d), explained variance %.3f, %d of %d latents dead",
            *(learner.cell.words, row["l0"], learner.cell.l0, row["explained_variance"]),
            *(row["dead_latents"], row["latents"]),
        )


def origin(learner: Learner, device: str) -> dict[str, Any]:
    """`runs` lists what trained the SAE, each entry from a step on; versions and device beside it wrote its files.

    `wall_seconds` is that of the whole job, whose cells are in `trained_with`.
    """
    return provenance(device) | {
        "settings": learner.settings,
        "l0": learner.cell.l0,
        "trained_with": learner.trained_with,
        "steps": learner.step,
        "tokens": learner.step * learner.settings["training"]["batch"],
        "norm_factor": learner.norm_factor,
        "wall_seconds": learner.seconds,
        "runs": learner.runs,
    }
