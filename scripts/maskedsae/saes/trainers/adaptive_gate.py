"""The article's adaptive gates: each latent is scaled by a learned number between 0 and 1."""

from typing import Any

import torch
from dictionary_learning import AutoEncoder
from torch.nn.functional import binary_cross_entropy_with_logits

from .article import ArticleTrainer
from .base import TrainerKind, encoded

START = 2.0  # of a gate's logit g: sigmoid(2) = 0.88


class GatedByScale(AutoEncoder):  # type: ignore[misc]
    """z = relu(sigmoid(g) * (W x + b)). As sigmoid(g) > 0, that is sigmoid(g) * relu(W x + b): no gate ever closes."""

    def __init__(self, activation_dim: int, dict_size: int):
        super().__init__(activation_dim, dict_size)
        self.gate_logits = torch.nn.Parameter(torch.full((dict_size,), START))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.gate_logits.sigmoid() * self.encoder(x - self.bias))


class AdaptiveGateTrainer(ArticleTrainer):
    """Its term is entropy_penalty * the mean entropy of the gates, as of coins that fall on one side so often."""

    def __init__(self, entropy_penalty: float, **settings: Any):
        super().__init__(**settings, dict_class=GatedByScale)
        self.entropy_penalty = entropy_penalty

    def term(self, z: torch.Tensor, step: int) -> torch.Tensor:
        logits = self.ae.gate_logits
        return self.entropy_penalty * binary_cross_entropy_with_logits(logits, logits.sigmoid())

    @property
    def config(self) -> dict[str, Any]:
        return super().config | {"entropy_penalty": self.entropy_penalty}


def folded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An AutoEncoder's, whose encoder has the gates in it."""
    gates = weights["gate_logits"].sigmoid()
    scaled = {
        "encoder.weight": weights["encoder.weight"] * gates[:, None],
        "encoder.bias": weights["encoder.bias"] * gates,
    }
    return {name: scaled.get(name, value) for name, value in weights.items() if name != "gate_logits"}


KIND = TrainerKind(AdaptiveGateTrainer, None, encoded, as_saved=folded, l1="l1_penalty")
