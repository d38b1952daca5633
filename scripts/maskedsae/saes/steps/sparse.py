"""A training step for a CPU: dense is only the encoder's product; the rest touches the active latents alone."""

from typing import Any

import numpy as np
import torch

from ..trainers.base import Form
from .active import Active
from .loss import Revived, groups_of, moved_threshold, revival
from .selection import LargestOfBatch, largest_of_each_row
from .weights import Weights


class SparseStep:
    """Does what the trainer's `update` does, up to rounding."""

    def __init__(self, trainer: Any, form: Form):
        self.trainer, self.form = trainer, form
        self.weights = Weights(trainer, form)
        sizes, self._shares = zip(*groups_of(trainer), strict=True)
        self._group_of = np.repeat(np.arange(len(sizes)), sizes)
        self._largest = LargestOfBatch()
        # Memory that every step uses again: to get it from the system takes longer than to fill it.
        self._post = self._errors = torch.empty(0)

    @torch.no_grad()
    def __call__(self, number: int, x: torch.Tensor) -> float:
        trainer, weights = self.trainer, self.weights
        if number == 0:
            weights.bias.copy_(self.form.median(x))
        centred = x - weights.bias
        post = self._encode(centred)
        places = largest_of_each_row(post, trainer.k) if self.form.each_row else self._largest(post, trainer.k)
        active = Active(places, post, self._group_of, len(self._shares))
        if number > trainer.threshold_start_step:
            trainer.ae.threshold.copy_(moved_threshold(trainer, self._smallest(active)))
        self._count_fired(active)
        errors = self._decode(centred, active)
        loss: float = sum(share * _square(error) for share, error in zip(self._shares, errors, strict=True)) / len(x)
        dead = (trainer.num_tokens_since_fired >= trainer.dead_feature_threshold).nonzero().flatten()
        revived = self._revive(dead, post, errors[-1]) if len(dead) and trainer.auxk_alpha else None
        # `errors` becomes the gradient by what each group adds to the reconstruction: by its own and all later ones.
        for group in reversed(range(len(errors))):
            errors[group] *= -2 * self._shares[group] / len(x)
            if group + 1 < len(errors):
                errors[group] += errors[group + 1]
        by_bag = errors.flatten(0, 1)
        by_value = active.products(by_bag, weights.decoder) * (active.values > 0)
        encoder = active.sums_by_latent(centred, active.rows, by_value)
        encoder_bias = active.totals(by_value)
        decoder = active.sums_by_latent(by_bag, active.bags, active.values)
        if revived:
            loss += trainer.auxk_alpha * revived.loss.item()
            encoder[dead] += revived.by_value.t() @ centred
            encoder_bias[dead] += revived.by_value.sum(0)
            decoder[dead] += revived.values.t() @ revived.by_reconstruction
        # Each activation is centred before it is encoded, so a change of the bias acts through the encoder as well.
        bias = errors[0].sum(0) - encoder_bias @ weights.encoder
        weights.descend([encoder, encoder_bias, decoder, bias], trainer.scheduler.get_last_lr()[0])
        trainer.scheduler.step()
        return loss

    def _encode(self, centred: torch.Tensor) -> torch.Tensor:
        weights, shape = self.weights, (len(centred), len(self.weights.encoder))
        if self._post.shape != shape:
            self._post = torch.empty(shape, dtype=centred.dtype)
        return torch.addmm(weights.encoder_bias, centred, weights.encoder.t(), out=self._post).relu_()

    def _decode(self, centred: torch.Tensor, active: Active) -> torch.Tensor:
        """What the dictionaries up to each one leave unexplained: groups x rows x width."""
        shape = (len(self._shares), *centred.shape)
        if self._errors.shape != shape:
            self._errors = torch.empty(shape, dtype=centred.dtype)
        before = centred
        for group, error in enumerate(self._errors):
            before = torch.sub(before, active.decoded(group, self.weights.decoder), out=error)
        return self._errors

    def _smallest(self, active: Active) -> torch.Tensor:
        """The smallest active latent, or the mean of each row's."""
        values = torch.where(active.values > 0, active.values, torch.inf).float()
        if self.form.each_row:  # a row without any makes it infinite there too
            return values.view(active.batch, -1).min(1).values.mean()
        return values.min() if (active.values > 0).any() else torch.zeros(())

    def _count_fired(self, active: Active) -> None:
        """Tokens since each latent fired. In TopK a chosen one has fired, even at zero; elsewhere none is zero."""
        since = self.trainer.num_tokens_since_fired
        since += active.batch
        since.masked_fill_(active.anywhere, 0)

    def _revive(self, dead: torch.Tensor, post: torch.Tensor, residual: torch.Tensor) -> Revived:
        """The auxiliary loss: the largest dead latents rebuild what is unexplained."""
        values, decoder = post[:, dead], self.weights.decoder[dead]
        if len(dead) > (k := self.trainer.top_k_aux):
            largest = values.topk(k, sorted=False)
            values = torch.zeros_like(values).scatter_(1, largest.indices, largest.values)
        loss, by_reconstruction = revival(values @ decoder, residual)
        by_reconstruction *= self.trainer.auxk_alpha
        by_value = by_reconstruction @ decoder.t() * (values > 0)
        return Revived(values, loss, by_reconstruction, by_value)


def _square(error: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(error)) ** 2
