"""The article's masked regularisation: a penalty on the decoder norms of latents that are hardly active."""

from typing import Any

import torch

from .article import ArticleTrainer
from .base import TrainerKind, encoded

MEMORY = 0.99  # of a latent's running mean


class MaskedPenaltyTrainer(ArticleTrainer):
    """Its term is norm_penalty * sum_i M_i 1[z_i < dormant_below] |w_i|^2, w_i being latent i's decoder direction.

    M_i is 1 if latent i's running mean is below `dormant_below`, as of the last step whose number `mask_every` divides.
    The running mean starts at 1, as in the article's code, so no latent is masked before step 917 (0.99^917 = 1e-4).
    As the norms are set to 1 after each step, the term is a number of latents and no more; what its gradient does is in
    tests/unit/test_article.py.
    """

    def __init__(self, norm_penalty: float, dormant_below: float, mask_every: int, **settings: Any):
        super().__init__(**settings)
        self.norm_penalty, self.dormant_below, self.mask_every = norm_penalty, dormant_below, mask_every
        self.running_mean = torch.ones(self.ae.dict_size, device=self.device)
        self.mask = torch.zeros(self.ae.dict_size, dtype=torch.bool, device=self.device)

    def term(self, z: torch.Tensor, step: int) -> torch.Tensor:
        self.latents = z.detach()
        silent = (z < self.dormant_below).float().mean(0)
        norms: torch.Tensor = self.ae.decoder.weight.pow(2).sum(0)
        return self.norm_penalty * (self.mask * silent * norms).sum()

    def update(self, step: int, activations: torch.Tensor) -> None:
        if step % self.mask_every == 0:
            self.mask = self.running_mean < self.dormant_below
        super().update(step, activations)
        self.running_mean = MEMORY * self.running_mean + (1 - MEMORY) * self.latents.float().mean(0)

    @property
    def config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("norm_penalty", "dormant_below", "mask_every")}
        return super().config | own


KIND = TrainerKind(MaskedPenaltyTrainer, None, encoded, state=("running_mean", "mask"), l1="l1_penalty", mask="mask")
