"""The solvers' constants are Torch7's."""

import pytest
import torch
from torch import nn

from jobs.models.generic_image import LearningRateSchedule
from jobs.training.schedules import solver_learning_rate
from jobs.training.solvers import SOLVERS, make_optimizer


def parameter() -> nn.Parameter:
    made = nn.Parameter(torch.tensor([1.0, -2.0]))
    made.grad = torch.tensor([0.5, 0.25])
    return made


def test_sgd_dampens_as_torch7_does():
    weights = parameter()
    optimizer = make_optimizer("SGD", [weights], 0.1)
    expected, velocity = weights.detach().clone(), None
    for _ in range(3):
        gradient = weights.grad + 1e-4 * expected
        velocity = gradient if velocity is None else 0.9 * velocity + 0.1 * gradient
        expected = expected - 0.1 * velocity
        optimizer.step()
    torch.testing.assert_close(weights.detach(), expected)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_descends(solver):
    weights = nn.Parameter(torch.tensor([3.0]))
    optimizer = make_optimizer(solver, [weights], 1.0 if solver == "ADADELTA" else 0.05)
    for _ in range(20):
        optimizer.zero_grad()
        (weights**2).sum().backward()
        optimizer.step()
    assert weights.item() < 3


def test_frozen_weights_are_left_alone():
    frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    optimizer = make_optimizer("SGD", [frozen, parameter()], 0.1)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 1


def test_adadelta_gets_the_shape_of_the_curve_only():
    schedule = LearningRateSchedule.model_validate({"kind": "", "learning_rate": 0.01})
    assert solver_learning_rate("ADADELTA", schedule, 0) == 1
    assert solver_learning_rate("ADADELTA", schedule, 40) == pytest.approx(0.1)
    assert solver_learning_rate("SGD", schedule, 40) == pytest.approx(0.001)
