"""What is left of a trained SAE for others: its files, its quality, and where it came from."""

import logging

from dictionary_learning.utils import load_dictionary

from . import quality, saefiles
from .files import write_json
from .provenance import provenance
from .streams import ActivationStream
from .tokens import Tokens

log = logging.getLogger("maskedsae")


def publish(learners: list, stream: ActivationStream, tokens: Tokens, facts: dict, device: str) -> None:
    """Write every cell's files, then measure what was written."""
    saes = {}
    for learner in learners:
        learner.write_log()
        hook = f"blocks.{facts['layer']}.hook_resid_post"
        config = learner.trainer.config | {"norm_factor": learner.norm_factor}
        saefiles.write(learner.folder / "sae", learner.final_weights, config, stream.config, hook)
        saes[learner.l0], _ = load_dictionary(str(learner.folder / "sae"), device=device)
    measured = quality.measure(saes, stream.model, tokens, facts["special_ids"], stream.lm_batch)
    for learner in learners:
        row = measured[learner.l0]
        learner.lease.check()
        write_json(learner.folder / "sae" / "quality.json", row)
        write_json(learner.folder / "sae" / "provenance.json", origin(learner, learners, device))
        log.info(
            "%s %s: l0 %.1f on clean text (nominal %d), explained variance %.3f, %d of %d latents dead",
            *(stream.model.name, stream.name, row["l0"], learner.l0, row["explained_variance"]),
            *(row["dead_latents"], row["latents"]),
        )


def origin(learner, learners: list, device: str) -> dict:
    """`runs` says what trained it, each entry from a step on; versions and device beside it are those that wrote it."""
    return provenance(device) | {
        "settings": learner.settings,
        "l0": learner.l0,
        "trained_with": [other.l0 for other in learners],
        "steps": learner.step,
        "tokens": learner.step * learner.settings["training"]["batch"],
        "norm_factor": learner.norm_factor,
        "wall_seconds": learner.seconds,
        "runs": learner.runs,
    }
