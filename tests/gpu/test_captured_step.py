"""The step as a CUDA graph does what the eager step does. These need a GPU, and are skipped without one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs.models.generic_image import Framework, Solver
from jobs.networks.contract import Network
from jobs.training.solvers import SOLVERS, make_optimizer, set_learning_rate
from jobs.training.step import CapturedStep, EagerStep, Step, precision_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")
STEPS = 24
GPU = torch.device("cuda")
BATCH = 16


def network_of(model: nn.Module) -> Network:
    return Network(model.cuda(), loss=nn.MSELoss(), label_hook=lambda input, label: input.flatten(1))


def layers(dropout: bool = False) -> nn.Module:
    torch.manual_seed(1)
    between: list[nn.Module] = [nn.BatchNorm2d(4), nn.ReLU(), *([nn.Dropout()] if dropout else [])]
    return nn.Sequential(nn.Conv2d(1, 4, 3), *between, nn.Flatten(), nn.Linear(4 * 36, 64))


def eager_step(
    network: Network, solver: Solver = "SGD", precision: Any = "float32", framework: Framework = "pytorch"
) -> EagerStep:
    optimizer = make_optimizer(solver, network.model.parameters(), 0.01, framework)
    return EagerStep(network, optimizer, precision_of(precision, GPU))


def train(step: Step, eager: EagerStep) -> Tensor:
    """Losses of batches of which every sixth is smaller, at a learning rate that falls."""
    images = torch.rand(STEPS, BATCH, 1, 8, 8, generator=torch.Generator().manual_seed(2)).cuda()
    losses = []
    for number in range(STEPS):
        set_learning_rate(eager.optimizer, 0.01 * 0.9**number)
        count = BATCH - 3 if number % 6 == 5 else BATCH
        losses.append(step(images[number, :count], torch.zeros(count).cuda()).clone())
    return torch.stack(losses).cpu()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("framework", ["pytorch", "torch"])
def test_a_captured_step_learns_what_the_eager_one_learns(solver: Solver, precision: str, framework: Framework) -> None:
    said: list[str] = []
    plain, captured = (eager_step(network_of(layers()), solver, precision, framework) for _ in range(2))
    expected = train(plain, plain)
    losses = train(CapturedStep(captured, BATCH, GPU, said.append), captured)
    assert said == ["Each step runs as one CUDA graph."]
    tolerance = 1e-4 if precision == "float32" else 2e-2
    assert torch.allclose(losses, expected, rtol=tolerance)
    for one, other in zip(plain.network.model.parameters(), captured.network.model.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=10 * tolerance, atol=tolerance)
        # Who looks at gradients after a step finds those of this step.
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=0.1, atol=10 * tolerance)


def test_dropout_is_another_one_at_every_replay() -> None:
    eager = eager_step(network_of(layers(dropout=True)))
    step = CapturedStep(eager, BATCH, GPU, print)
    images = torch.rand(BATCH, 1, 8, 8).cuda()
    for _ in range(8):
        step(images, torch.zeros(BATCH).cuda())
    set_learning_rate(eager.optimizer, 0.0)
    losses = {float(step(images, torch.zeros(BATCH).cuda())) for _ in range(5)}
    assert len(losses) == 5


class ReadsTheGpu(nn.Module):
    """Asks the GPU for a number, which no recording can."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, input: Tensor) -> Tensor:
        values: Tensor = self.layer(input.flatten(1))
        return values if values.sum().item() > -1e9 else -values


def test_what_cannot_be_captured_goes_on_eagerly_and_says_so() -> None:
    said: list[str] = []
    plain, other = (eager_step(network_of(seeded(ReadsTheGpu))) for _ in range(2))
    expected = train(plain, plain)
    assert torch.allclose(train(CapturedStep(other, BATCH, GPU, said.append), other), expected, rtol=1e-4)
    assert len(said) == 1
    assert "does not run as a CUDA graph" in said[0]
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


def seeded(model: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return model()
