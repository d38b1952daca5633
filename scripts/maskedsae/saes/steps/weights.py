"""An SAE's four tensors, and how their gradients move them: the part of a step that is the same on every device."""

from typing import Any

import torch
from torch.optim.adam import adam

from ..trainers.base import Form


class Weights:
    """Views of a trainer's parameters, of Adam's state and of its counters, with a row for each latent.

    The trainer's own objects stay the only copy, so that everything that reads or saves a trainer goes on as it is.
    """

    def __init__(self, trainer: Any, form: Form):
        self.optimizer = trainer.optimizer
        self.optimizer.step()  # does nothing without gradients; if it was never called, the scheduler warns
        names = (form.encoder, form.encoder_bias, form.decoder, "b_dec")
        transposed = (not form.encoder_has_rows, False, form.encoder_has_rows, False)
        parameters = [trainer.ae.get_parameter(name) for name in names]
        self.all = [_in_rows(*each) for each in zip(parameters, transposed, strict=True)]
        self.encoder, self.encoder_bias, self.decoder, self.bias = self.all
        states = [self._state(*each) for each in zip(parameters, transposed, strict=True)]
        self._moments = [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")]

    @property
    def state(self) -> list[torch.Tensor]:
        """What a step changes: the weights and Adam's state."""
        return [*self.all, *(each for kind in self._moments for each in kind)]

    @property
    def steps(self) -> torch.Tensor:
        """Adam's counter: how many steps were made."""
        counter: torch.Tensor = self._moments[2][0]
        return counter

    def _state(self, parameter: torch.nn.Parameter, transposed: bool) -> dict[str, torch.Tensor]:
        """Adam's, as views with a row for each latent."""
        state = self.optimizer.state[parameter]
        if not state:
            zeros = {name: torch.zeros_like(parameter.data) for name in ("exp_avg", "exp_avg_sq")}
            state.update(step=torch.zeros((), dtype=torch.float32), **zeros)
        state["step"] = state["step"].to(parameter.device)
        views = {"step": state["step"]}
        for name in ("exp_avg", "exp_avg_sq"):
            views[name] = (state[name].t() if transposed else state[name]).contiguous()
            state[name] = views[name].t() if transposed else views[name]
        return views

    def descend(self, gradients: list[torch.Tensor], lr: float | torch.Tensor) -> None:
        """One step of Adam along the gradients (in the order of `all`; they are overwritten)."""
        decoder, gradient = self.decoder, gradients[2]
        # Only turn the decoder's directions: take out what would lengthen them.
        norms = torch.linalg.vector_norm(decoder, dim=1, keepdim=True) + 1e-6
        along = torch.linalg.vecdot(gradient, decoder)[:, None] / norms
        gradient.addcmul_(decoder, along / norms, value=-1)
        # As clip_grad_norm_ does.
        total = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients]))
        torch._foreach_mul_(gradients, (1 / (total + 1e-6)).clamp(max=1))
        group = self.optimizer.param_groups[0]
        averages, squares, steps = self._moments
        adam(
            self.all,
            gradients,
            averages,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=lr,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        decoder.div_(torch.linalg.vector_norm(decoder, dim=1, keepdim=True) + torch.finfo(decoder.dtype).eps)


def _in_rows(parameter: torch.nn.Parameter, transposed: bool) -> torch.Tensor:
    """A view with a row for each latent, contiguous in memory; the parameter is laid out anew if it was not."""
    rows = (parameter.data.t() if transposed else parameter.data).contiguous()
    parameter.data = rows.t() if transposed else rows
    return rows
