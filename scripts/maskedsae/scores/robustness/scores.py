"""The two score files of one SAE: robustness.json and parents.json."""

from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from ...jobs.files import write_json
from ...jobs.log import log
from ...saes.cells import Cell, sae_of
from ..ood.latents import Encoder
from .changes import Changes
from .parents import parents_scores
from .settings import RobustnessSettings
from .texts import read_texts

HELD_OUT = "held out; the first position of a context, BOS, EOS and padding left out"


def write_scores(
    robustness_to: str | Path,
    parents_to: str | Path,
    activations: str | Path,
    weights: str | Path,
    settings: RobustnessSettings,
) -> None:
    """Of the SAE that `robustness_to` is of; `weights` is its file for SAELens."""
    torch.set_num_threads(1)  # sums differ with the number of threads
    sae = sae_of(robustness_to)
    nominal = sae.l0 if isinstance(sae, Cell) else None
    encode, texts = Encoder(Path(weights).parent), read_texts(activations)
    with threadpool_limits(1):
        changes = Changes(encode, texts, settings).result()
        parents = parents_scores(encode, texts, nominal, settings.rates)
    write_json(robustness_to, {"text": HELD_OUT, **changes})
    write_json(parents_to, {"text": HELD_OUT, **parents})
    alike = ", ".join(f"{name} {changes[name]['jaccard']:.3f}" for name in texts.corrupted)
    log.info("%s: latents that stay (Jaccard): %s", sae.words, alike)
