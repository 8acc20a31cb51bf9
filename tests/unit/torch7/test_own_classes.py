"""What people wrote into their networks beside nn's layers: other ways to run, frozen layers, shared weights, hooks."""

import torch
from torch import Tensor, nn

from jobs.networks.contract import Network, NetworkParams
from jobs.torch7.contract import build_lua_network
from jobs.torch7.own_class import LuaModule

IMAGES = torch.linspace(-1, 1, 2 * 16).reshape(2, 1, 4, 4)


def built(text: str) -> Network:
    """The network of a text that leaves its layers in `net`, and what goes beside it in `fields`."""
    return build_lua_network(
        f"local fields = {{}}\nlocal net = nn.Sequential():add(nn.View(-1):setNumInputDims(3))\n{text}\n"
        "fields.model, fields.loss = net, fields.loss or nn.MSECriterion()\nreturn function(params) return fields end",
        NetworkParams((1, 4, 4)),
    )


def linears(network: Network) -> list[nn.Linear]:
    return [module for module in network.model.modules() if isinstance(module, nn.Linear)]


def trained(network: Network, steps: int = 1) -> Tensor:
    """The loss of the last of some steps, as the training takes them."""
    optimizer = torch.optim.SGD(network.model.parameters(), lr=0.1)
    for _ in range(steps):
        output = network.model(IMAGES)
        loss = network.loss(output, network.label_hook(IMAGES, torch.zeros_like(output)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return loss.detach()


def test_a_class_may_have_forward_and_backward_alone() -> None:
    network = built(
        """
        local Scaled, parent = torch.class('nn.Scaled', 'nn.Module')
        function Scaled:__init(size)
            parent.__init(self)
            self.weight, self.gradWeight = torch.ones(size):mul(3), torch.zeros(size)
        end
        function Scaled:forward(input)
            self.output = torch.cmul(input, self.weight:view(1, -1):expandAs(input))
            return self.output
        end
        function Scaled:backward(input, gradOutput)
            self.gradWeight:add(torch.cmul(input, gradOutput):sum(1):view(-1))
            self.gradInput = torch.cmul(gradOutput, self.weight:view(1, -1):expandAs(input))
            return self.gradInput
        end
        net:add(nn.Scaled(16)):add(nn.Linear(16, 2))
        """
    )
    output = network.model(IMAGES)
    torch.testing.assert_close(output, linears(network)[0](IMAGES.flatten(1) * 3))
    output.sum().backward()
    (scale,) = (parameter for parameter in network.model.parameters() if parameter.shape == (16,))
    torch.testing.assert_close(scale.grad, (IMAGES.flatten(1) * linears(network)[0].weight.sum(0)).sum(0))


def test_a_class_may_run_its_parent_in_forward() -> None:
    network = built(
        """
        local Residual, parent = torch.class('nn.Residual', 'nn.Sequential')
        function Residual:forward(input) return parent.forward(self, input) + input end
        function Residual:backward(input, gradOutput, scale)
            return parent.backward(self, input, gradOutput, scale) + gradOutput
        end
        net:add(nn.Linear(16, 4)):add(nn.Residual():add(nn.Linear(4, 4)))
        """
    )
    first, second = linears(network)
    images = IMAGES.clone().requires_grad_()
    found = torch.autograd.grad(network.model(images).sum(), [images, first.weight])
    hidden = first(images.flatten(1))
    expected = torch.autograd.grad((second(hidden) + hidden).sum(), [images, first.weight])
    torch.testing.assert_close(found, expected)
    network.model(images).sum().backward()
    assert second.weight.grad is not None
    assert second.weight.grad.any()


def test_a_class_that_inherits_a_layer_may_change_its_gradient_alone() -> None:
    network = built(
        """
        local Reversed, parent = torch.class('nn.Reversed', 'nn.Linear')
        function Reversed:updateGradInput(input, gradOutput)
            return -parent.updateGradInput(self, input, gradOutput)
        end
        net:add(nn.Reversed(16, 2))
        """
    )
    images = IMAGES.clone().requires_grad_()
    (found,) = torch.autograd.grad(network.model(images).sum(), images)
    torch.testing.assert_close(found.flatten(1), -linears(network)[0].weight.sum(0).expand(2, 16))


def test_a_layer_may_learn_slower_by_a_function_of_its_own() -> None:
    network = built(
        """
        local slow = nn.Linear(16, 2)
        slow.accGradParameters = function(self, input, gradOutput, scale)
            nn.Linear.accGradParameters(self, input, gradOutput, scale * 0.1)
        end
        net:add(slow)
        """
    )
    network.model(IMAGES).sum().backward()
    torch.testing.assert_close(linears(network)[0].weight.grad, 0.1 * IMAGES.flatten(1).sum(0).expand(2, 16))


def test_the_hint_that_no_gradient_is_wanted_leaves_the_layer_to_python() -> None:
    network = built("net:add(nn.Linear(16, 2))\nnet:get(2).updateGradInput = function() end")
    assert not any(isinstance(module, LuaModule) for module in network.model.modules())
