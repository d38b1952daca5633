"""Another threshold for an SAE, at which its l0 on held-out clean text is the one that is asked for."""

from collections.abc import Iterable
from typing import Any

import torch

from ...jobs.errors import InputError


@torch.no_grad()
def threshold_for(sae: Any, target: float, rows: Iterable[torch.Tensor], most_rows: int, where: str) -> torch.Tensor:
    """All thresholds times one factor, as in robustness (scores/robustness/latents.py): between the two latents, of all
    rows, that stand last inside and first outside. `most_rows`: an upper bound of their number, since no more numbers
    are kept than can be needed."""
    threshold = sae.threshold.detach().clamp(min=1e-9)
    keep, seen, highest = round(target * most_rows) + 1, 0, torch.empty(0, device=threshold.device)
    for x in rows:
        seen += len(x)
        ratios = (_positive(sae, x) / threshold).flatten()
        highest = torch.cat([highest, ratios[ratios > 0]])
        highest = highest.topk(min(keep, len(highest)), sorted=True).values
    count = round(target * seen)
    if count < 1 or count >= len(highest):
        most = len(highest) / seen
        raise InputError(
            f"{where}: {target:g} is out of reach: on {seen:,} tokens the SAE's latents give an l0 between "
            f"{1 / seen:.2g} and {most:.1f}"
        )
    factor = (highest[count - 1].double() + highest[count].double()) / 2
    wanted: torch.Tensor = (threshold.double() * factor).float()
    return wanted


def _positive(sae: Any, x: torch.Tensor) -> torch.Tensor:
    """Latents before any threshold, by dictionary_learning's own encoder."""
    if hasattr(sae, "k"):  # BatchTopK and Matryoshka
        return torch.as_tensor(sae.encode(x, return_active=True)[2])
    return torch.relu(sae.encode(x, output_pre_jump=True)[1])
