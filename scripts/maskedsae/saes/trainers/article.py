"""What the two systems of an article share: its loss without their terms, and its step (docs/article.md).

"Mitigating Feature Absorption in Sparse Autoencoders (SAEs) via Masked Regularization", 15 April 2026. They are built
from its formulas. Where its code differs from them (means in place of sums; the reconstruction taken for the
activations), the formulas hold. The optimiser, the rate with its schedule and the first weights, which it leaves open,
are those of dictionary_learning's StandardTrainerAprilUpdate: Adam with betas (0.9, 0.999).
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from dictionary_learning.trainers.standard import StandardTrainerAprilUpdate


class ArticleTrainer(StandardTrainerAprilUpdate, ABC):  # type: ignore[misc]
    """Minimises |x - x_hat|^2 + l1_penalty * sum_i z_i, in the mean over the batch, and what `term` adds."""

    def __init__(self, **settings: Any):
        super().__init__(**settings, sparsity_warmup_steps=0, wandb_name=type(self).__name__)

    @abstractmethod
    def term(self, z: torch.Tensor, step: int) -> torch.Tensor: ...

    def loss(self, x: torch.Tensor, step: int, logging: bool = False, **_: Any) -> Any:
        x_hat, z = self.ae(x, output_features=True)
        squares, l1 = (x - x_hat).pow(2).sum(-1).mean(), z.sum(-1).mean()
        loss = squares + self.l1_penalty * l1 + self.term(z, step)
        if not logging:
            return loss
        return x, x_hat, z, {"mse_loss": squares.item(), "sparsity_loss": l1.item(), "loss": loss.item()}

    def update(self, step: int, activations: torch.Tensor) -> None:
        """A step of Adam on the gradient clipped to norm 1; then every decoder direction is given norm 1."""
        super().update(step, activations)
        with torch.no_grad():
            self.ae.decoder.weight /= self.ae.decoder.weight.norm(dim=0, keepdim=True)

    @property
    def config(self) -> dict[str, Any]:
        return {**super().config, "trainer_class": type(self).__name__}
