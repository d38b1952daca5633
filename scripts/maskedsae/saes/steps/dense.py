"""A training step for a GPU: the same kernels on the same shapes in every step, and none that the host waits for.

It is written in plain tensor operations, which run on a CPU as well; graph.py records them on a GPU.
"""

from typing import Any

import torch

from ..trainers.base import Form, autocast
from .loss import Revived, groups_of, moved_threshold, revival
from .weights import Weights


class DenseStep:
    """Does what the trainer's `update` does, up to rounding, with products in `dtype` as autocast makes them."""

    def __init__(self, trainer: Any, form: Form, dtype: torch.dtype):
        self.trainer, self.form, self.dtype = trainer, form, dtype
        self.weights = Weights(trainer, form)
        self._sizes, self._shares = (list(each) for each in zip(*groups_of(trainer), strict=True))
        self._rate = torch.zeros_like(self.weights.bias[0])
        self._revives = False
        self.look()

    @property
    def state(self) -> list[torch.Tensor]:
        """All that a step changes on the device."""
        return [*self.weights.state, self.trainer.ae.threshold, self.trainer.num_tokens_since_fired]

    def look(self) -> None:
        """Ask the device how many tokens the longest silent latent has been so; the host waits for the answer."""
        self._silent = int(self.trainer.num_tokens_since_fired.max())

    def start(self, x: torch.Tensor) -> None:
        """Before the first step: dictionary_learning's first bias."""
        with torch.no_grad(), autocast(self.dtype, x.device.type):
            self.weights.bias.copy_(self.form.median(x))

    def revives(self, batch: int) -> bool:
        """Whether a latent may be dead in the next step, or might have been in an earlier one. Before that the
        auxiliary loss is left out: with no dead latent it is 0, and so are its gradients. (A change back and forth
        would be a new recording each time.)"""
        may_be = self._silent + batch >= self.trainer.dead_feature_threshold
        self._revives = self._revives or (may_be and bool(self.trainer.auxk_alpha))
        return self._revives

    def prepare(self, batch: int) -> None:
        """The host's part of a step, before the device's."""
        self._rate.fill_(self.trainer.scheduler.get_last_lr()[0])
        self.trainer.scheduler.step()
        self._silent += batch

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, revive: bool) -> torch.Tensor:
        """The device's part. The loss stays there."""
        trainer, weights, shares = self.trainer, self.weights, self._shares
        x_type = weights.bias.dtype
        centred = x - weights.bias
        narrow = centred.to(self.dtype)
        post = self._encode(narrow)
        features, fired, smallest = self._largest(post)
        started = weights.steps > trainer.threshold_start_step  # as many steps were made as this one's number says
        threshold, since = trainer.ae.threshold, trainer.num_tokens_since_fired
        threshold.copy_(torch.where(started, moved_threshold(trainer, smallest), threshold))
        since.copy_(torch.where(fired, 0, since + len(x)))

        parts = features.to(self.dtype).split(self._sizes, dim=1)
        decoders = weights.decoder.to(self.dtype).split(self._sizes)
        errors = [centred]
        for part, rows in zip(parts, decoders, strict=True):
            errors.append(errors[-1] - part @ rows)
        del errors[0]
        squares = [torch.linalg.vector_norm(error).square() for error in errors]
        loss = torch.stack([share * square for share, square in zip(shares, squares, strict=True)]).sum() / len(x)
        revived = self._revive(post, errors[-1]) if revive else None
        # The gradient by what a group adds to the reconstruction: by its own error and by all later ones.
        by_group = [error.mul_(-2 * share / len(x)) for share, error in zip(shares, errors, strict=True)]
        for group in reversed(range(len(by_group) - 1)):
            by_group[group] += by_group[group + 1]
        narrowed = [each.to(self.dtype) for each in by_group]
        by_value = torch.cat([each @ rows.t() for each, rows in zip(narrowed, decoders, strict=True)], dim=1)
        by_value *= features > 0
        decoder = torch.cat([part.t() @ each for part, each in zip(parts, narrowed, strict=True)]).to(x_type)
        if revived:
            loss = loss + trainer.auxk_alpha * revived.loss
            by_value += revived.by_value
            decoder += revived.values.t() @ revived.by_reconstruction
        encoder = (by_value.to(self.dtype).t() @ narrow).to(x_type)
        encoder_bias = by_value.sum(0, dtype=x_type)
        # Each activation is centred before it is encoded, so a change of the bias acts through the encoder as well.
        bias = by_group[0].sum(0) - encoder_bias @ weights.encoder
        weights.descend([encoder, encoder_bias, decoder, bias], self._rate)
        return loss

    def _encode(self, narrow: torch.Tensor) -> torch.Tensor:
        weights = self.weights
        encoder = weights.encoder.to(self.dtype).t()
        if self.form.rounds_latents:
            return torch.addmm(weights.encoder_bias.to(self.dtype), narrow, encoder).relu_()
        return (narrow @ encoder + weights.encoder_bias).relu_()

    def _largest(self, post: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The latents that are active, of equal ones those that dictionary_learning takes; which of them fired; and
        the smallest of them, or the mean of each row's."""
        k = self.trainer.k
        if self.form.each_row:
            largest = post.topk(k, sorted=False)
            features = torch.zeros_like(post).scatter_(1, largest.indices, largest.values)
            # dictionary_learning counts a chosen latent as fired even at zero; a row without a positive one makes the
            # mean infinite.
            fired = torch.zeros_like(self.trainer.num_tokens_since_fired, dtype=torch.bool)
            fired = fired.scatter_(0, largest.indices.flatten(), True)
            return features, fired, _smallest(largest.values.float(), 1).mean()
        flat = post.flatten()
        largest = flat.topk(k * len(post), sorted=False)
        features = torch.zeros_like(flat).scatter_(0, largest.indices, largest.values).view_as(post)
        smallest = _smallest(largest.values.float(), 0)
        return features, features.sum(0) > 0, torch.where(smallest.isinf(), 0.0, smallest)

    def _revive(self, post: torch.Tensor, residual: torch.Tensor) -> Revived:
        """The auxiliary loss, in a form whose shapes do not depend on how many latents are dead."""
        trainer = self.trainer
        dead = trainer.num_tokens_since_fired >= trainer.dead_feature_threshold
        largest = torch.where(dead, post, 0).topk(min(trainer.top_k_aux, post.shape[1]), sorted=False)
        values = torch.zeros_like(post).scatter_(1, largest.indices, largest.values).to(self.dtype)
        decoder = self.weights.decoder.to(self.dtype)
        loss, by_reconstruction = revival((values @ decoder).to(residual.dtype), residual)
        by_reconstruction = (by_reconstruction * trainer.auxk_alpha).to(self.dtype)
        by_value = by_reconstruction @ decoder.t() * (values > 0)
        return Revived(values, torch.where(dead.any(), loss, 0.0), by_reconstruction, by_value)


def _smallest(values: torch.Tensor, dim: int) -> torch.Tensor:
    """The smallest that is over 0; infinite if none is."""
    return torch.where(values > 0, values, torch.inf).amin(dim)
