"""The solvers of networks in Torch's language follow the rules of Torch's `optim`, here written again in NumPy."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from jobs.models.generic_image import Framework, LearningRateSchedule, Solver
from jobs.networks.contract import Network
from jobs.training.schedules import solver_learning_rate
from jobs.training.solvers import SOLVERS, make_optimizer, set_learning_rate
from jobs.training.step import EagerStep, StepWatch, precision_of

Vector = NDArray[np.float64]
Gradient = Callable[[Vector], Vector]

CPU = torch.device("cpu")
STEPS = 10
# Another one at every step: where a rule takes the learning rate makes a difference.
RATES = [0.01 * 0.8**step for step in range(STEPS)]
# Small gradients, in which ε is seen.
SCALE = 1e-4
INPUTS = np.random.default_rng(1).normal(size=(8, 4))
TARGETS = np.random.default_rng(2).normal(size=(8, 3))


def gradient_at(weights: Vector) -> Vector:
    """Of the sum of fourth powers of what a linear layer's output misses, by hand."""
    weight, bias = weights[:12].reshape(3, 4), weights[12:]
    slope = SCALE * 4 * (INPUTS @ weight.T + bias - TARGETS) ** 3
    return np.concatenate([(slope.T @ INPUTS).ravel(), slope.sum(0)])


def decayed(weights: Vector) -> Vector:
    return gradient_at(weights) + 1e-4 * weights


def sgd(weights: Vector) -> Iterator[Vector]:
    velocity = None
    for rate in RATES:
        gradient = decayed(weights)
        velocity = gradient if velocity is None else 0.9 * velocity + 0.1 * gradient
        weights = weights - rate * velocity
        yield weights


def nag(weights: Vector) -> Iterator[Vector]:
    velocity = np.zeros_like(weights)
    for rate in RATES:
        velocity = 0.9 * velocity - rate * decayed(weights + 0.9 * velocity)
        weights = weights + velocity
        yield weights


def adagrad(weights: Vector) -> Iterator[Vector]:
    squares = np.zeros_like(weights)
    for rate in RATES:
        gradient = decayed(weights)
        squares = squares + gradient**2
        weights = weights - rate * gradient / (np.sqrt(squares) + 1e-10)
        yield weights


def rmsprop(weights: Vector) -> Iterator[Vector]:
    squares = np.zeros_like(weights)
    for rate in RATES:
        gradient = decayed(weights)
        squares = 0.99 * squares + 0.01 * gradient**2
        weights = weights - rate * gradient / (np.sqrt(squares) + 1e-8)
        yield weights


def adadelta(weights: Vector) -> Iterator[Vector]:
    squares, squared_steps = np.zeros_like(weights), np.zeros_like(weights)
    for _ in RATES:
        gradient = decayed(weights)
        squares = 0.9 * squares + 0.1 * gradient**2
        step = np.sqrt(squared_steps + 1e-6) / np.sqrt(squares + 1e-6) * gradient
        squared_steps = 0.9 * squared_steps + 0.1 * step**2
        weights = weights - step
        yield weights


def adam(weights: Vector) -> Iterator[Vector]:
    moment, squares = np.zeros_like(weights), np.zeros_like(weights)
    for count, rate in enumerate(RATES, 1):
        gradient = decayed(weights)
        moment = 0.9 * moment + 0.1 * gradient
        squares = 0.999 * squares + 0.001 * gradient**2
        corrected = rate * np.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = weights - corrected * moment / (np.sqrt(squares) + 1e-8)
        yield weights


RULES: dict[Solver, Callable[[Vector], Iterator[Vector]]] = {
    "SGD": sgd,
    "NESTEROV": nag,
    "ADAM": adam,
    "ADAGRAD": adagrad,
    "RMSPROP": rmsprop,
    "ADADELTA": adadelta,
}


def loss_of(output: Tensor, target: Tensor) -> Tensor:
    return SCALE * ((output - target) ** 4).sum()


def layer() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(4, 3).double()


def optimizer_of(model: nn.Module, solver: Solver, framework: Framework = "torch") -> Optimizer:
    return make_optimizer(solver, model.parameters(), RATES[0], framework)


def step_of(model: nn.Module, optimizer: Optimizer) -> Callable[[], Tensor]:
    step = EagerStep(Network(model, loss=loss_of), optimizer, precision_of("float32", CPU))
    return lambda: step(torch.from_numpy(INPUTS), torch.from_numpy(TARGETS))


def values_of(model: nn.Module) -> Vector:
    """A copy: the weights go on."""
    return np.concatenate([parameter.detach().numpy().ravel() for parameter in model.parameters()])


def trained(solver: Solver, framework: Framework) -> list[Vector]:
    """The weights after each step."""
    model = layer()
    optimizer = optimizer_of(model, solver, framework)
    step, seen = step_of(model, optimizer), []
    for rate in RATES:
        # ADADELTA's rate in Torch is none, which the solver's own 1 says.
        set_learning_rate(optimizer, 1.0 if solver == "ADADELTA" and framework == "torch" else rate)
        step()
        seen.append(values_of(model))
    return seen


@pytest.mark.parametrize("solver", SOLVERS)
def test_ten_steps_are_those_of_torchs_rule(solver: Solver) -> None:
    expected = list(RULES[solver](values_of(layer())))
    assert len(expected) == STEPS
    np.testing.assert_allclose(trained(solver, "torch"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", ["NESTEROV", "ADAM", "ADADELTA"])
def test_a_pytorch_network_keeps_pytorchs_rule(solver: Solver) -> None:
    assert not np.allclose(trained(solver, "torch"), trained(solver, "pytorch"), rtol=0, atol=1e-7)


def schedule(policy: str = "step") -> LearningRateSchedule:
    return LearningRateSchedule.model_validate({"kind": "", "learning_rate": 0.01, "lr_policy": policy})


@pytest.mark.parametrize("solver", ["SGD", "NESTEROV", "ADAGRAD"])
def test_the_policy_holds_for_solvers_that_count_their_steps(solver: Solver) -> None:
    assert solver_learning_rate(solver, schedule(), 40, "torch") == pytest.approx(0.001)


@pytest.mark.parametrize("solver", ["ADAM", "RMSPROP"])
@pytest.mark.parametrize("policy", ["step", "sigmoid", "poly"])
def test_the_rate_of_adam_and_rmsprop_stays_what_the_policy_begins_with(solver: Solver, policy: str) -> None:
    first = solver_learning_rate(solver, schedule(policy), 0, "torch")
    assert first == solver_learning_rate("SGD", schedule(policy), 0)
    assert solver_learning_rate(solver, schedule(policy), 90, "torch") == first
    assert solver_learning_rate(solver, schedule(policy), 90, "pytorch") < first


def test_adadelta_goes_by_no_learning_rate() -> None:
    assert [solver_learning_rate("ADADELTA", schedule(), percent, "torch") for percent in (0, 40, 90)] == [1, 1, 1]


class Failing(nn.Module):
    """A layer that fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = layer()
        self.fails = False

    def forward(self, input: Tensor) -> Tensor:
        if self.fails:
            raise RuntimeError("can't allocate memory")
        output: Tensor = self.layer(input)
        return output


def test_a_step_that_broke_off_can_be_taken_again() -> None:
    """A captured step does that where memory ran out."""
    model = Failing()
    step = step_of(model, optimizer_of(model, "NESTEROV"))
    for _ in range(3):
        step()
    before = values_of(model)
    model.fails = True
    with pytest.raises(RuntimeError, match="memory"):
        step()
    np.testing.assert_allclose(values_of(model), before, rtol=0, atol=1e-12)


class Switched(nn.Module):
    """Uses one of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer(), layer()])
        self.used = 0

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.layers[self.used](input)
        return output


def test_momentum_of_a_layer_that_is_not_used_runs_out() -> None:
    """As in Torch, whose gradients are one vector; the place ahead is left again."""
    model = Switched()
    step = step_of(model, optimizer_of(model, "NESTEROV"))
    step()
    weights, velocity = values_of(model.layers[0]), values_of(model.layers[0]) - values_of(layer())
    model.used = 1
    for _ in range(3):
        step()
        velocity = 0.9 * velocity - RATES[0] * 1e-4 * (weights + 0.9 * velocity)
        weights = weights + velocity
    np.testing.assert_allclose(values_of(model.layers[0]), weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_that_was_kept_goes_on_as_it_was(solver: Solver) -> None:
    """Snapshots hold its state as tensors and plain values."""
    model = layer()
    optimizer = optimizer_of(model, solver)
    step = step_of(model, optimizer)
    for _ in range(3):
        step()
    kept = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, kept)
    kept.seek(0)
    content = torch.load(kept, weights_only=True)
    other = layer()
    other_optimizer = optimizer_of(other, solver)
    other.load_state_dict(content["model"])
    other_optimizer.load_state_dict(content["optimizer"])
    other_step = step_of(other, other_optimizer)
    for _ in range(3):
        step()
        other_step()
    np.testing.assert_array_equal(values_of(other), values_of(model))


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_step_does_the_same(solver: Solver) -> None:
    """Only such a step may be captured."""
    model = layer()
    step = EagerStep(Network(model, loss=loss_of), optimizer_of(model, solver), precision_of("float32", CPU))
    watch = StepWatch(step, CPU)
    for _ in range(StepWatch.STEPS):
        watch(torch.from_numpy(INPUTS), torch.from_numpy(TARGETS))
    assert watch.difference is None
