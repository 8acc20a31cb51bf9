"""One step of a training: its precision, and whether it may be recorded once for all that follow. No GPU is needed."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jobs.networks.contract import Network
from jobs.training.solvers import SOLVERS, make_optimizer
from jobs.training.step import EagerStep, StepWatch, precision_of

CPU = torch.device("cpu")


class Changing(nn.Module):
    """Does what `change` does, besides a linear layer."""

    def __init__(self, change: Callable[["Changing", Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.calls = 0
        self.change = change

    def forward(self, input: Tensor) -> Tensor:
        return self.change(self, self.layer(input))


def step_of(model: nn.Module, solver: Any = "SGD", precision: Any = "float32") -> EagerStep:
    network = Network(model, loss=nn.MSELoss(), label_hook=lambda input, label: input)
    return EagerStep(network, make_optimizer(solver, model.parameters(), 0.01), precision_of(precision, CPU))


def watched(model: nn.Module, solver: Any = "SGD", precision: Any = "float32") -> StepWatch:
    watch = StepWatch(step_of(model, solver, precision), CPU)
    for _ in range(StepWatch.STEPS):
        watch(torch.rand(8, 4), torch.zeros(8))
    assert watch.is_done
    return watch


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_of_layers_does_the_same_at_every_step(solver: str, precision: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4))
    assert watched(model, solver, precision).difference is None


def count(model: Changing, values: Tensor) -> Tensor:
    model.calls += 1
    return values


def grow(model: Changing, values: Tensor) -> Tensor:
    # Kept where a watch of plain attributes does not look.
    model.layer.state = getattr(model.layer, "state", [])  # type: ignore[assignment]
    model.layer.state.append(0)  # type: ignore[union-attr, operator]
    return values * len(model.layer.state)  # type: ignore[arg-type]


def draw(model: Changing, values: Tensor) -> Tensor:
    return values * random.random()


def draw_with_numpy(model: Changing, values: Tensor) -> Tensor:
    return values * float(np.random.rand())


def remember(model: Changing, values: Tensor) -> Tensor:
    """A buffer that is another tensor at every step: a recording would go on with the first."""
    model.layer.register_buffer("memory", values.mean(0).detach())
    return values


def renew_weights(model: Changing, values: Tensor) -> Tensor:
    model.layer.weight.data = model.layer.weight.data / 2
    return values


def look(model: Changing, values: Tensor) -> Tensor:
    return values if values.sum() > 0 else -values


@pytest.mark.parametrize("change", [count, grow, draw, draw_with_numpy, remember, renew_weights, look])
def test_a_step_that_changes_is_seen_to_change(change: Callable[[Changing, Tensor], Tensor]) -> None:
    assert watched(Changing(change)).difference


def test_a_number_that_a_gpu_would_get_from_the_cpu_is_seen_to_change() -> None:
    temperature = torch.ones(())

    def anneal(model: Changing, values: Tensor) -> Tensor:
        temperature.mul_(0.9)
        return values * temperature

    # As if the network were on a GPU, and this number were not.
    watch = StepWatch(step_of(Changing(anneal)), torch.device("cuda"))
    for _ in range(StepWatch.STEPS):
        watch(torch.rand(8, 4), torch.zeros(8))
    assert watch.difference


def test_watching_changes_nothing() -> None:
    """The watched steps are steps of the training like all others."""
    torch.manual_seed(1)
    plain = nn.Linear(4, 4)
    other = nn.Linear(4, 4)
    other.load_state_dict(plain.state_dict())
    images = torch.rand(8, 4)
    step, watch = step_of(plain), StepWatch(step_of(other), CPU)
    for _ in range(StepWatch.STEPS):
        assert torch.equal(step(images, images), watch(images, images))
    assert torch.equal(plain.weight, other.weight)


def test_bfloat16_computes_in_half_the_digits_and_learns_in_all() -> None:
    torch.manual_seed(1)
    model = nn.Linear(4, 4)
    outputs = []
    model.register_forward_hook(lambda module, args, output: outputs.append(output.dtype))
    step = step_of(model, precision="bfloat16")
    before = model.weight.detach().clone()
    loss = step(torch.rand(8, 4), torch.zeros(8))
    assert outputs == [torch.bfloat16]
    assert loss.dtype == torch.float32
    assert model.weight.dtype == torch.float32
    assert not torch.equal(before, model.weight)
