"""Torch7's solvers, for networks in its language, where PyTorch's of the same name follow another rule."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

WEIGHT_DECAY = 1e-4
LearningRate = float | Tensor


class TorchSolver(Optimizer):
    """What Torch's solvers share. All weights are one vector to them: one without a gradient has the gradient zero.

    A learning rate that is a tensor stays one, and no number comes back from the device: a step may be captured.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: LearningRate) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # gradients are there: no closure computes them
        for group in self.param_groups:
            parameters = group["params"]
            gradients = [
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in parameters
            ]
            decayed = torch._foreach_add(gradients, parameters, alpha=WEIGHT_DECAY)
            self.update(parameters, list(decayed), group)

    @abstractmethod
    def update(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Change the parameters. The gradients may be overwritten: they are the solver's own."""

    def kept(self, name: str, parameters: list[Tensor]) -> list[Tensor]:
        """What the solver keeps of each parameter under this name; zeros at first."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]


class Nag(TorchSolver):
    """Nesterov's accelerated gradient as `optim.nag` takes it: the gradient is that of the place where momentum leads.

    The forward and backward pass and `step` belong into `looking_ahead`. Outside of it, and so in validation, frames and
    snapshots, the weights are those that Torch has after a step. The velocity holds steps, each with the learning rate
    of its time.
    """

    MOMENTUM = 0.9

    @contextmanager
    def looking_ahead(self) -> Iterator[None]:
        """Move on by what momentum will add; back again if the step breaks off."""
        self._move(self.MOMENTUM)
        try:
            yield
        except BaseException:
            self._move(-self.MOMENTUM)
            raise

    @torch.no_grad()
    def _move(self, share: float) -> None:
        for group in self.param_groups:
            torch._foreach_add_(group["params"], self.kept("velocity", group["params"]), alpha=share)

    def update(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        velocities = self.kept("velocity", parameters)
        torch._foreach_mul_(gradients, group["lr"])
        torch._foreach_mul_(velocities, self.MOMENTUM)
        torch._foreach_sub_(velocities, gradients)
        # Momentum's part was added when looking ahead.
        torch._foreach_sub_(parameters, gradients)


class Adam(TorchSolver):
    """`optim.adam`: ε is added to the root before the moments are corrected for their start at zero."""

    DECAY, DECAY_OF_SQUARES = 0.9, 0.999
    EPSILON = 1e-8

    def __init__(self, parameters: list[nn.Parameter], lr: LearningRate) -> None:
        super().__init__(parameters, lr)
        for group in self.param_groups:
            # In double precision: 1 - 0.999 has four digits in single.
            on = lr.device if isinstance(lr, Tensor) else "cpu"
            group["steps"] = torch.zeros((), dtype=torch.float64, device=on)

    def update(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        moments, squares = self.kept("moment", parameters), self.kept("squares", parameters)
        torch._foreach_mul_(moments, self.DECAY)
        torch._foreach_add_(moments, gradients, alpha=1 - self.DECAY)
        torch._foreach_mul_(squares, self.DECAY_OF_SQUARES)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - self.DECAY_OF_SQUARES)
        group["steps"] += 1
        correction, correction_of_squares = (
            1 - decay ** group["steps"] for decay in (self.DECAY, self.DECAY_OF_SQUARES)
        )
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, self.EPSILON)
        steps = torch._foreach_div(moments, roots)
        rate = group["lr"] * correction_of_squares.sqrt() / correction
        torch._foreach_mul_(steps, rate.to(parameters[0].dtype))
        torch._foreach_sub_(parameters, steps)
