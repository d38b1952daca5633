"""Where in a text a latent fires, as HTML for a notebook."""

from html import escape
from typing import Any

import torch


def top_contexts(values: torch.Tensor, contexts: torch.Tensor, tokenizer: Any, count: int = 5, around: int = 8) -> str:
    """The contexts in which `values` (contexts x positions) of one latent are largest, the largest first: around its
    place, each token is the darker, the larger its value is. Contexts in which it never fires are left out."""
    largest = values.max(dim=1)
    order = largest.values.argsort(descending=True, stable=True).tolist()[:count]
    most = float(largest.values.max())
    lines = []
    for number in order:
        if largest.values[number] <= 0:
            break
        place = int(largest.indices[number])
        first = max(0, place - around)
        seen = range(first, min(place + around + 1, contexts.shape[1]))
        tokens = "".join(
            _token(tokenizer.decode([int(contexts[number, at])]), float(values[number, at]) / most) for at in seen
        )
        lines.append(f"<div><code>{float(largest.values[number]):.2f}</code> …{tokens}…</div>")
    return "\n".join(lines) or "<div>It fires nowhere here.</div>"


def _token(text: str, share: float) -> str:
    shown = escape(text.replace("\n", "⏎"))
    return f'<span style="background: rgba(240, 150, 20, {share:.2f})">{shown}</span>' if share > 0 else shown
