"""Criteria that a text defines itself, as losses and within nn's."""

import pytest
import torch
from torch import Tensor

from jobs.building import build_and_check
from jobs.errors import BadNetwork
from jobs.networks.contract import Network, NetworkParams
from jobs.torch7.contract import build_lua_network
from jobs.torch7.runtime import Runtime
from jobs.training.step import may_be_recorded

# The Huber loss, as a class from nothing.
HUBER = """
local Huber, parent = torch.class('nn.HuberCriterion', 'nn.Criterion')
function Huber:__init(delta)
    parent.__init(self)
    self.delta = delta or 1
    self.buffer = torch.Tensor()
end
function Huber:updateOutput(input, target)
    self.buffer:resizeAs(input):copy(input):add(-1, target):abs()
    local near = torch.cmin(self.buffer, torch.Tensor():resizeAs(input):fill(self.delta))
    self.output = (torch.cmul(near, self.buffer) - torch.pow(near, 2) * 0.5):sum() / input:size(1)
    return self.output
end
function Huber:updateGradInput(input, target)
    self.gradInput:resizeAs(input):copy(input):add(-1, target)
    self.gradInput:clamp(-self.delta, self.delta):div(input:size(1))
    return self.gradInput
end
function Huber:__tostring__() return torch.type(self) .. '(' .. self.delta .. ')' end
"""

# One that adds to what its parent computes.
PULLED = """
local Pulled, parent = torch.class('nn.PulledMSECriterion', 'nn.MSECriterion')
function Pulled:__init(pull)
    parent.__init(self)
    self.pull = pull
end
function Pulled:updateOutput(input, target)
    return parent.updateOutput(self, input, target) + self.pull * torch.pow(input, 2):sum()
end
function Pulled:updateGradInput(input, target)
    local gradient = parent.updateGradInput(self, input, target)
    return gradient + input * (2 * self.pull)
end
"""

IMAGES = torch.linspace(-1, 1, 2 * 16).reshape(2, 1, 4, 4)


def built(
    classes: str, loss: str, model: str = "nn.Linear(16, 3)", hook: str = "torch.ones(input:size(1), 3)"
) -> Network:
    return build_lua_network(
        f"{classes}\nreturn function(params)\n"
        f"    local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add({model})\n"
        f"    return {{ model = net, loss = {loss}, labelHook = function(input, label) return {hook} end }}\nend",
        NetworkParams((1, 4, 4)),
    )  # fmt: skip


def loss_and_gradients(network: Network) -> tuple[Tensor, list[Tensor]]:
    output = network.model(IMAGES)
    loss = network.loss(output, network.label_hook(IMAGES, torch.zeros(2)))
    return loss.detach(), list(torch.autograd.grad(loss, list(network.model.parameters())))


def assert_computes(network: Network, formula: Tensor) -> None:
    """The loss and its gradients are the formula's, which is made of the same weights."""
    loss, gradients = loss_and_gradients(network)
    torch.testing.assert_close(loss, formula.detach())
    torch.testing.assert_close(gradients, list(torch.autograd.grad(formula, list(network.model.parameters()))))


def test_a_criterion_of_ones_own_is_the_loss() -> None:
    network = built(HUBER, "nn.HuberCriterion(0.5)")
    difference = network.model(IMAGES) - 1
    near = difference.abs().clamp(max=0.5)
    assert_computes(network, (near * difference.abs() - near.square() / 2).sum() / 2)


def test_a_criterion_may_add_to_its_parents() -> None:
    network = built(PULLED, "nn.PulledMSECriterion(0.1)")
    output = network.model(IMAGES)
    assert_computes(network, (output - 1).square().mean() + 0.1 * output.square().sum())


@pytest.mark.parametrize("both", ["MultiCriterion", "ParallelCriterion"])
def test_criteria_of_ones_own_go_with_nns(both: str) -> None:
    loss = f"nn.{both}():add(nn.PulledMSECriterion(0.1), 0.5):add(nn.AbsCriterion())"
    if both == "MultiCriterion":
        network = built(PULLED, loss)
        first = second = network.model(IMAGES)
    else:
        branches = "nn.ConcatTable():add(nn.Linear(16, 3)):add(nn.Linear(16, 3))"
        network = built(PULLED, loss, branches, "{torch.ones(input:size(1), 3), torch.ones(input:size(1), 3)}")
        first, second = network.model(IMAGES)
    mine = (first - 1).square().mean() + 0.1 * first.square().sum()
    assert_computes(network, 0.5 * mine + (second - 1).abs().mean())


def test_a_criterion_of_ones_own_compares_tables() -> None:
    classes = """
    local Apart = torch.class('nn.ApartCriterion', 'nn.Criterion')
    function Apart:updateOutput(input) return input[1]:dot(input[2]) end
    function Apart:updateGradInput(input) return {input[2], input[1]} end
    """
    network = built(classes, "nn.ApartCriterion()", "nn.ConcatTable():add(nn.Linear(16, 3)):add(nn.Linear(16, 3))")
    first, second = network.model(IMAGES)
    assert_computes(network, (first * second).sum())


def test_a_criterion_whose_functions_were_replaced() -> None:
    classes = """
    local loss = nn.MSECriterion()
    loss.updateGradInput = function(self, input, target) return nn.MSECriterion.updateGradInput(self, input, target) * 10 end
    """
    network = built(classes, "loss")
    plain = built("", "nn.MSECriterion()")
    plain.model.load_state_dict(network.model.state_dict())
    loss, gradients = loss_and_gradients(network)
    plain_loss, plain_gradients = loss_and_gradients(plain)
    assert loss == plain_loss
    torch.testing.assert_close(gradients, [gradient * 10 for gradient in plain_gradients])


def test_a_criterion_with_forward_and_backward_alone() -> None:
    classes = """
    local Sum = torch.class('nn.SumCriterion', 'nn.Criterion')
    function Sum:forward(input, target) return torch.cmul(input, target):sum() end
    function Sum:backward(input, target) return target end
    """
    network = built(classes, "nn.SumCriterion()")
    assert_computes(network, network.model(IMAGES).sum())


def test_a_network_with_a_criterion_of_ones_own_passes_the_check_and_moves() -> None:
    network, report = build_and_check(
        HUBER + "local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(16, 3))\n"
        "return function() return { model = net, loss = nn.HuberCriterion(),\n"
        "    labelHook = function(input) return torch.zeros(input:size(1), 3) end } end",
        (1, 4, 4), (), framework="torch",
    )  # fmt: skip
    assert report.loss > 0
    network.model.double()
    network.loss.double()  # type: ignore[attr-defined]
    loss = network.loss(network.model(IMAGES.double()), torch.zeros(2, 3, dtype=torch.float64))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float64


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("function C:updateOutput(input, target)\nreturn input:nonsense() end", "line 4: attempt to call method 'nonsense'"),
        ("function C:updateOutput(input, target) return 'x' end", "nn.C:updateOutput returns str; it must return the loss"),
        ("function C:updateOutput(input, target) end", "nn.C:updateOutput returns nothing; it must return the loss"),
        ("", "a criterion needs updateOutput(input, target) and updateGradInput(input, target)"),
        ("function C:updateOutput() return 1 end", "a criterion needs updateOutput(input, target)"),
        ("function C:updateOutput() return 1 end\nfunction C:updateGradInput()\nerror('no way') end", "line 5: no way"),
        ("function C:updateOutput() return 1 end\nfunction C:updateGradInput() end",
         "nn.C:updateGradInput returns 0 tensors, and the network has 1 outputs"),
        ("function C:updateOutput() return 1 end\nfunction C:updateGradInput() return torch.zeros(1) end",
         "nn.C:updateGradInput returns 1 values for an output of 6"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_criterion_is_said_with_its_line(body: str, sentence: str) -> None:
    with pytest.raises(BadNetwork) as caught:
        build_and_check(
            f"\nlocal C = torch.class('nn.C', 'nn.Criterion')\n{body}\nreturn function() return {{\n"
            "model = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(16, 3)), loss = nn.C() } end",
            (1, 4, 4), (), framework="torch",
        )  # fmt: skip
    assert sentence in str(caught.value)
    assert caught.value.line == (int(sentence[5]) if sentence.startswith("line") else None)


def test_a_criterion_keeps_what_it_gave() -> None:
    Runtime().run(
        "local loss = nn.MSECriterion()\nloss:forward(torch.ones(2), torch.zeros(2))\n"
        "loss:backward(torch.ones(2), torch.zeros(2))\nassert(loss.output == 1 and loss.gradInput:sum() == 2)"
    )


@pytest.mark.parametrize("loss", ["nn.HuberCriterion()", "nn.MultiCriterion():add(nn.HuberCriterion())"])
def test_a_step_with_a_criterion_of_ones_own_is_not_recorded(loss: str) -> None:
    assert not may_be_recorded(built(HUBER, loss))
    assert may_be_recorded(built("", "nn.MSECriterion()"))


def test_a_loss_of_mixed_precision_is_float32() -> None:
    network = built(HUBER, "nn.HuberCriterion(0.5)")
    with torch.autocast("cpu", torch.bfloat16):
        output = network.model(IMAGES)
        loss = network.loss(output, network.label_hook(IMAGES, torch.zeros(2)))
    assert (output.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.model.parameters()
    )
