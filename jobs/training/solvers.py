"""The six solvers, with Torch7's constants rather than PyTorch's; with all of its rules for networks in its language."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Optimizer, RMSprop

from jobs.models.generic_image import Framework, Solver
from jobs.training import torch_solvers
from jobs.training.torch_solvers import WEIGHT_DECAY, LearningRate

Parameters = list[nn.Parameter]


def make_optimizer(
    solver: Solver, parameters: Iterable[nn.Parameter], lr: float, framework: Framework = "pytorch"
) -> Optimizer:
    """The solver over the parameters that learn. Weight decay is on all of them, biases too, as in Torch7.

    One kernel does the whole update where torch has one. On a GPU the learning rate lives there, so that a captured
    step follows it.
    """
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    devices = {parameter.device for parameter in learning}
    on_one_gpu = len(devices) == 1 and next(iter(devices)).type == "cuda"
    rate = torch.tensor(lr, device=next(iter(devices))) if on_one_gpu else lr
    if framework == "torch" and solver in TORCH_SOLVERS:
        return TORCH_SOLVERS[solver](learning, rate)
    return SOLVERS[solver](learning, rate, on_one_gpu)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def _can_fuse(parameters: Parameters) -> bool:
    """Whether one kernel can do the whole update, which saves several passes over the weights at every step."""
    return all(
        parameter.device.type in ("cpu", "cuda") and torch.is_floating_point(parameter) for parameter in parameters
    )


def _sgd(parameters: Parameters, lr: LearningRate, capturable: bool) -> Optimizer:
    # Dampening is Torch7's default; with PyTorch's, 0, steps are ten times larger and the seed's autoencoder dies.
    return SGD(parameters, lr, momentum=0.9, dampening=0.9, weight_decay=WEIGHT_DECAY, fused=_can_fuse(parameters))


def _nesterov(parameters: Parameters, lr: LearningRate, capturable: bool) -> Optimizer:
    return SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY, fused=_can_fuse(parameters))


def _adam(parameters: Parameters, lr: LearningRate, capturable: bool) -> Optimizer:
    fused = _can_fuse(parameters)
    return Adam(parameters, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=WEIGHT_DECAY, fused=fused,
                capturable=capturable)  # fmt: skip


def _adagrad(parameters: Parameters, lr: LearningRate, capturable: bool) -> Optimizer:
    return Adagrad(parameters, lr, eps=1e-10, weight_decay=WEIGHT_DECAY, fused=_can_fuse(parameters))


def _rmsprop(parameters: Parameters, lr: LearningRate, capturable: bool) -> Optimizer:
    return RMSprop(parameters, lr, alpha=0.99, eps=1e-8, weight_decay=WEIGHT_DECAY, capturable=capturable)


def _adadelta(parameters: Parameters, lr: LearningRate, capturable: bool) -> Optimizer:
    return Adadelta(parameters, lr, rho=0.9, eps=1e-6, weight_decay=WEIGHT_DECAY, capturable=capturable)


SOLVERS: dict[Solver, Callable[[Parameters, LearningRate, bool], Optimizer]] = {
    "SGD": _sgd,
    "NESTEROV": _nesterov,
    "ADAM": _adam,
    "ADAGRAD": _adagrad,
    "RMSPROP": _rmsprop,
    "ADADELTA": _adadelta,
}

# With the other four both do the same, given the constants above and, for ADADELTA, a learning rate of 1.
TORCH_SOLVERS: dict[Solver, Callable[[Parameters, LearningRate], Optimizer]] = {
    "NESTEROV": torch_solvers.Nag,
    "ADAM": torch_solvers.Adam,
}
