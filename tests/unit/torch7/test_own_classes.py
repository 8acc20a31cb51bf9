"""What people wrote into their networks beside nn's layers: other ways to run, frozen layers, shared weights, hooks."""

import gc

import pytest
import torch
from torch import Tensor, nn

from jobs.building import build_and_check
from jobs.errors import BadNetwork
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


# Frozen layers


@pytest.mark.parametrize(
    "freeze",
    [
        "layer.parameters = function() end",
        "layer.parameters = function() return {} end",
        "layer.parameters = function() return {}, {} end",
        "layer.accGradParameters = function() end",
        "layer.accGradParameters = function() return end",
        "print(net) layer.accGradParameters = function() end print(net)",
        "local Fixed = torch.class('nn.Fixed', 'nn.Linear')\nfunction Fixed:accGradParameters() end\n"
        "net:remove(2) net:insert(nn.Fixed(16, 3), 2)",
    ],
)
def test_a_frozen_layer_stays_as_it_is(freeze: str) -> None:
    network = built(f"local layer = nn.Linear(16, 3)\nnet:add(layer):add(nn.Linear(3, 2))\n{freeze}")
    frozen, learning = linears(network)
    before = frozen.weight.clone(), learning.weight.clone()
    trained(network)
    assert torch.equal(frozen.weight, before[0])
    assert not torch.equal(learning.weight, before[1])


def test_a_layer_that_names_its_weight_alone_keeps_its_bias() -> None:
    network = built(
        "local layer = nn.Linear(16, 2)\nnet:add(layer)\n"
        "layer.parameters = function(self) return {self.weight}, {self.gradWeight} end"
    )
    assert {name: parameter.requires_grad for name, parameter in linears(network)[0].named_parameters()} == {
        "weight": True,
        "bias": False,
    }


def test_a_layer_that_was_frozen_and_freed_again_learns() -> None:
    network = built(
        "local layer = nn.Linear(16, 2)\nnet:add(layer)\nlayer.parameters = function() end\nprint(net)\nnet:getParameters()\n"
        "layer.parameters = nil"
    )
    assert all(parameter.requires_grad for parameter in network.model.parameters())


def test_weights_that_a_layer_does_not_name_are_not_among_those_of_the_network() -> None:
    built(
        "net:add(nn.Linear(16, 3)):add(nn.Linear(3, 2))\nnet:get(2).parameters = function() end\n"
        "net:get(2).weight:fill(1)\nlocal weights = net:getParameters()\n"
        "assert(weights:nElement() == 8, weights:nElement())\nweights:zero()\nassert(net:get(2).weight:sum() == 48)"
    )


# Gradients and weights in Lua's hands


def test_a_hook_may_bound_the_weights() -> None:
    network = built(
        "net:add(nn.Linear(16, 3)):add(nn.Tanh()):add(nn.Linear(3, 2))\n"
        "fields.labelHook = function(input) net:get(4).weight:clamp(-0.01, 0.01) return torch.ones(input:size(1), 2) end"
    )
    trained(network)
    network.label_hook(IMAGES, torch.zeros(2))
    assert linears(network)[1].weight.abs().max() <= 0.01


def test_a_hook_may_change_all_weights_at_once() -> None:
    network = built(
        "net:add(nn.Linear(16, 3)):add(nn.Linear(3, 2))\n"
        "fields.labelHook = function(input)\n"
        "    local weights, gradients = net:getParameters()\n"
        "    assert(weights:nElement() == 16 * 3 + 3 + 3 * 2 + 2 and gradients:sum() == 0)\n"
        "    weights:mul(0)\n    return torch.zeros(input:size(1), 2)\nend"
    )
    trained(network, 3)
    network.label_hook(IMAGES, torch.zeros(2))
    assert not any(parameter.any() for parameter in network.model.parameters())
    place = linears(network)[0].weight.data_ptr()
    trained(network)
    assert linears(network)[0].weight.data_ptr() == place, "weights that lie in one tensor stay there"


def test_what_a_hook_adds_to_gradients_counts_with_those_of_the_loss() -> None:
    text = (
        "net:add(nn.Linear(16, 2))\nfields.labelHook = function(input)\n"
        "    {}\n    return torch.zeros(input:size(1), 2)\nend"
    )
    plain = built(text.format(""))
    for adding in (
        "net:get(2).gradWeight:add(0.5, torch.sign(net:get(2).weight))",
        "local _, gradients = net:parameters() gradients[1]:add(0.5, torch.sign(net:get(2).weight))",
        "local w, g = net:getParameters() g:narrow(1, 1, 32):add(0.5, torch.sign(w:narrow(1, 1, 32)))",
    ):
        network = built(text.format(adding))
        plain.model.load_state_dict(network.model.state_dict())
        for _ in range(2):
            # The second time the first is forgotten.
            signs = linears(network)[0].weight.detach().sign()
            before = linears(network)[0].weight.detach().clone()
            trained(network)
            plain_before = linears(plain)[0].weight.detach().clone()
            trained(plain)
            step = linears(network)[0].weight - before
            plain_step = linears(plain)[0].weight - plain_before
            torch.testing.assert_close(step, plain_step - 0.1 * 0.5 * signs)
            plain.model.load_state_dict(network.model.state_dict())


def test_a_hook_may_train_a_network_of_its_own() -> None:
    network = built(
        """
        net:add(nn.Linear(16, 2))
        local critic, loss = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(16, 1)), nn.MSECriterion()
        losses = {}
        fields.labelHook = function(input)
            local wanted = torch.ones(input:size(1), 1)
            critic:zeroGradParameters()
            losses[#losses + 1] = loss:forward(critic:forward(input), wanted)
            critic:backward(input, loss:backward(critic.output, wanted))
            critic:updateParameters(0.1)
            assert(#losses == 1 or losses[#losses] < losses[#losses - 1], 'it does not learn')
            return torch.zeros(input:size(1), 2)
        end
        """
    )
    trained(network, 5)


def test_gradients_can_be_forgotten() -> None:
    built(
        """
        local layer = nn.Linear(2, 1)
        local input, grad = torch.ones(3, 2), torch.ones(3, 1)
        layer:forward(input) layer:backward(input, grad)
        assert(layer.gradWeight:sum() == 6 and layer.gradBias[1] == 3)
        local bias = layer.bias[1]
        layer:updateParameters(0.5)
        assert(math.abs(layer.bias[1] - (bias - 1.5)) < 1e-6)
        layer:zeroGradParameters()
        assert(layer.gradWeight:sum() == 0 and layer.gradBias[1] == 0)
        net:add(nn.Linear(16, 2))
        """
    )


# What layers gave


def test_a_hook_sees_what_a_layer_gave() -> None:
    network = built(
        "net:add(nn.Linear(16, 3)):add(nn.Sequential():add(nn.Tanh())):add(nn.Linear(3, 3))\n"
        "seen = {}\n"
        "fields.labelHook = function(input)\n"
        "    assert(torch.isTensor(net:get(3).output))\n"
        "    return net:get(2).output + net:get(3).output:clone() + net.output\nend"
    )
    output = network.model(IMAGES)
    hidden = linears(network)[0](IMAGES.flatten(1))
    target = network.label_hook(IMAGES, torch.zeros(2))
    torch.testing.assert_close(target, (hidden + torch.tanh(hidden) + output).detach())
    assert not target.requires_grad


def test_what_a_hook_does_to_an_output_leaves_the_gradients_alone() -> None:
    network = built(
        "net:add(nn.Linear(16, 3)):add(nn.Tanh())\nfields.labelHook = function(input)\n"
        "    net:get(3).output:fill(7)\n    return net:get(3).output:clone()\nend"
    )
    output = network.model(IMAGES)
    target = network.label_hook(IMAGES, torch.zeros(2))
    assert (target == 7).all()
    output.sum().backward()
    expected = torch.autograd.grad(torch.tanh(linears(network)[0](IMAGES.flatten(1))).sum(), linears(network)[0].weight)
    torch.testing.assert_close(linears(network)[0].weight.grad, expected[0])


def test_before_the_first_pass_there_is_no_output() -> None:
    built("net:add(nn.Linear(16, 3))\nassert(net:get(2).output:dim() == 0 and net.output:nElement() == 0)")


def test_layers_of_which_nobody_asks_the_output_have_no_hooks() -> None:
    network = built("net:add(nn.Linear(16, 3))\nfields.labelHook = function(input) return torch.zeros(2, 3) end")
    assert not any(module._forward_hooks for module in network.model.modules())


# Shared weights


@pytest.mark.parametrize(
    "share",
    [
        "second.weight = first.weight",
        "second.weight = first.weight second.gradWeight = first.gradWeight",
        "second:share(first, 'weight', 'gradWeight')",
        "net:remove(3) net:insert(first:clone('weight', 'gradWeight'), 3)",
        "local w = torch.randn(16, 16) first.weight = w second.weight = w",
        "second.weight:set(first.weight)",
        "second.weight:set(first.weight) local w = net:getParameters() assert(w:nElement() == 256 + 32)",
    ],
)
def test_layers_share_a_weight(share: str) -> None:
    network = built(f"local first, second = nn.Linear(16, 16), nn.Linear(16, 16)\nnet:add(first):add(second)\n{share}")
    first, second = linears(network)
    assert first.weight is second.weight
    assert first.bias is not second.bias
    trained(network)


TIED = """
local encoder, decoder = nn.Linear(16, 3), nn.Linear(3, 16)
net:add(encoder):add(nn.Tanh()):add(decoder)
decoder.weight = encoder.weight:t()
decoder.gradWeight = encoder.gradWeight:t()
"""


@pytest.mark.parametrize(
    "then",
    [
        "",
        "local w = net:getParameters() w:mul(1)",
        "print(net)",
        "net = net:clone()",
        "decoder.weight = decoder.weight",
    ],
)
def test_a_tied_autoencoder_stays_tied_while_it_learns(then: str) -> None:
    network = built(TIED + then)
    encoder, decoder = linears(network)
    assert sum(parameter.numel() for parameter in network.model.parameters()) == 16 * 3 + 3 + 16
    weight, bias = encoder.weight.detach().clone().requires_grad_(), encoder.bias.detach()
    output = torch.tanh(IMAGES.flatten(1) @ weight.t() + bias) @ weight + decoder.bias.detach()
    output.square().mean().backward()
    trained(network)
    torch.testing.assert_close(encoder.weight, weight - 0.1 * weight.grad)
    torch.testing.assert_close(decoder.weight, encoder.weight.t())
    assert (encoder.described(), decoder.described()) == ("nn.Linear(16 -> 3)", "nn.Linear(3 -> 16)")


def test_a_weight_may_be_set_to_the_transpose_of_another() -> None:
    network = built(TIED.replace("decoder.weight = encoder.weight:t()", "decoder.weight:set(encoder.weight:t())"))
    trained(network, 2)
    encoder, decoder = linears(network)
    torch.testing.assert_close(decoder.weight, encoder.weight.t())
    assert len(list(network.model.parameters())) == 3


def test_a_tied_weight_moves_and_is_loaded_with_the_whole() -> None:
    network, other = built(TIED), built(TIED)
    network.model.double()
    assert network.model(IMAGES.double()).dtype == torch.float64
    other.model.load_state_dict(network.model.state_dict())
    torch.testing.assert_close(linears(other)[1].weight.double(), linears(network)[0].weight.t())


def test_lua_reads_and_writes_a_tied_weight() -> None:
    network = built(
        TIED + "encoder.weight:fill(2)\nassert(decoder.weight:size(1) == 16 and decoder.weight[16][3] == 2)\n"
        "decoder.weight[1][2] = 5\nassert(encoder.weight[2][1] == 5 and decoder.gradWeight:size(1) == 16)"
    )
    assert linears(network)[1].weight[0, 1] == 5


def test_a_tied_weight_may_get_one_of_its_own_again() -> None:
    network = built(TIED + "decoder.weight = encoder.weight:t():clone()")
    assert len(list(network.model.parameters())) == 4


def test_weights_of_ones_own_classes_are_tied_too() -> None:
    classes = """
    local Product = torch.class('nn.Product', 'nn.Module')
    function Product:__init(weight)
        nn.Module.__init(self)
        self.weight, self.gradWeight = weight, torch.zeros(weight:size())
    end
    function Product:updateOutput(x) self.output = torch.mm(x, self.weight) return self.output end
    function Product:updateGradInput(x, grad) self.gradInput = torch.mm(grad, self.weight:t()) return self.gradInput end
    function Product:accGradParameters(x, grad) self.gradWeight:addmm(x:t(), grad) end
    """
    for tie, count in {
        "local down = nn.Product(torch.randn(16, 3)) net:add(down):add(nn.Product(down.weight:t()))": 48,
        "local down = nn.Product(torch.randn(16, 3)) net:add(down) net:add(nn.Linear(3, 16, false)) "
        "net:get(3).weight = down.weight": 48,
        "local down = nn.Product(torch.randn(16, 16)) net:add(down):add(down:clone('weight'))": 256,
    }.items():
        network = built(classes + tie)
        assert sum(parameter.numel() for parameter in network.model.parameters()) == count
        (weight,) = network.model.parameters()
        known = weight.detach().clone().requires_grad_()
        second = known if "clone" in tie else known.t()
        (torch.mm(IMAGES.flatten(1), known) @ second).square().mean().backward()
        trained(network)
        torch.testing.assert_close(weight, weight.detach() * 0 + known - 0.1 * known.grad)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("local w = torch.randn(16, 3)\nnet:add(nn.Linear(16, 3)):add(nn.Linear(3, 16))\nnet:get(3).weight = w\n"
         "net:get(2).weight = w:t()", None),
        ("local w = torch.randn(16, 3)\nnet:add(nn.Linear(16, 3)):add(nn.Linear(3, 16))\nnet:get(2).weight = w:t()\n"
         "net:get(3).weight = w", "line 6: two layers get parts of one tensor that overlap"),
        ("local other = nn.Linear(16, 3)\nnet:add(nn.Linear(3, 16))\nnet:get(2).weight = other.weight:t()",
         "line 4: nn.Linear(3 -> 16) shares its weight with a layer that is not in the model"),
        ("local w = torch.randn(32, 3)\nnet:add(nn.Linear(16, 3)):add(nn.Linear(3, 16))\nnet:get(3).weight = w[{{1, 16}}]\n"
         "net:get(2).weight = w[{{17, 32}}]:t()", None),
    ],
)  # fmt: skip
def test_a_weight_is_never_shared_in_a_way_that_training_would_not_see(text: str, sentence: str | None) -> None:
    if sentence is None:
        built(text)
        return
    with pytest.raises(BadNetwork) as caught:
        built(text)
    assert sentence in str(caught.value)


def test_an_object_that_was_printed_before_it_was_changed_has_its_new_weights() -> None:
    network = built(
        """
        local Gain, parent = torch.class('nn.Gain', 'nn.Module')
        function Gain:__init(size)
            parent.__init(self)
            self.weight, self.gradWeight = torch.ones(size), torch.zeros(size)
            self.inner = nn.Linear(16, 16)
        end
        function Gain:updateOutput(x) return torch.cmul(self.inner:forward(x), self.weight:view(1, -1):expandAs(x)) end
        function Gain:updateGradInput(x, grad) return grad end
        local gain = nn.Gain(16)
        net:add(gain):add(nn.Linear(16, 2))
        print(net)
        net:getParameters()
        gain.weight = torch.Tensor(16):fill(3)
        gain.inner = nn.Linear(16, 16)
        gain.inner.weight:zero()
        gain.inner.bias:fill(1)
        """
    )
    hidden = next(module for module in network.model.modules() if isinstance(module, LuaModule))(IMAGES.flatten(1))
    assert hidden.tolist() == [[3.0] * 16] * 2
    assert sum(parameter.numel() for parameter in network.model.parameters()) == 16 + 16 * 16 + 16 + 32 + 2


def count_linears() -> int:
    gc.collect()
    return sum(issubclass(type(module), nn.Linear) for module in gc.get_objects())


def test_modules_that_a_hook_makes_at_each_call_do_not_stay() -> None:
    network = built(
        "net:add(nn.Linear(16, 2))\nfields.labelHook = function(input)\n"
        "    local other = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(16, 2))\n"
        "    return other:forward(input)\nend"
    )
    before = count_linears()
    for _ in range(300):
        network.label_hook(IMAGES, torch.zeros(2))
    assert count_linears() - before < 150


def test_a_graph_prints_as_the_text_calls_it() -> None:
    text = """
    require 'nngraph'
    local input = nn.Identity()()
    local graph = nn.gModule({input}, {nn.Linear(16, 2)(input)})
    graph.name = 'encoder'
    net:add(graph)
    """
    assert "(2): encoder" in (built(text).printed or "")


STEPS = """
local Steps, parent = torch.class('nn.Steps', 'nn.Sequential')
function Steps:updateOutput(input)
    self.output = torch.zeros(input:size(1), 3)
    for t = 1, 4 do self.output:add(self.modules[1]:forward({step(input, t)})) end
    return self.output
end
function Steps:updateGradInput(input, gradOutput)
    self.gradInput = torch.zeros(input:size())
    for t = 1, 4 do
        local part = self.modules[1]:updateGradInput({step(input, t)}, gradOutput)
        self.gradInput:narrow(2, 4 * t - 3, 4):copy(part)
    end
    return self.gradInput
end
function Steps:accGradParameters(input, gradOutput, scale)
    for t = 1, 4 do self.modules[1]:accGradParameters({step(input, t)}, gradOutput, scale) end
end
net:add(nn.Linear(16, 16)):add(nn.Steps():add(nn.Sequential():add(nn.Linear(4, 3)):add(nn.Tanh())))
"""


@pytest.mark.parametrize(
    "step",
    [
        "function step(input, t) return input:narrow(2, 4 * t - 3, 4):clone() end",
        "local one = torch.Tensor(2, 4) function step(input, t) return one:copy(input:narrow(2, 4 * t - 3, 4)) end",
    ],
)
def test_a_class_may_run_a_module_several_times_before_it_goes_back(step: str) -> None:
    network = built(step + STEPS.replace("{step(input, t)}", "step(input, t)"))
    network.model(IMAGES).square().mean().backward()
    first, shared = linears(network)
    weights = [
        parameter.detach().clone().requires_grad_() for layer in (first, shared) for parameter in layer.parameters()
    ]
    steps = (IMAGES.reshape(2, 16) @ weights[0].T + weights[1]).reshape(2, 4, 4)
    sum((steps[:, t] @ weights[2].T + weights[3]).tanh() for t in range(4)).square().mean().backward()
    for parameter, weight in zip(network.model.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter.grad, weight.grad)


def test_weights_learn_from_the_gradient_that_backward_was_given() -> None:
    # As in Torch7: a class that changes the gradient for its input alone leaves that of its weights as it came.
    network = built(
        """
        local Doubled, parent = torch.class('nn.Doubled', 'nn.Linear')
        function Doubled:updateGradInput(input, gradOutput) return parent.updateGradInput(self, input, gradOutput * 2) end
        net:add(nn.Linear(16, 3)):add(nn.Doubled(3, 2))
        """
    )
    network.model(IMAGES).square().mean().backward()
    first, last = linears(network)
    weights = [parameter.detach().clone().requires_grad_() for parameter in network.model.parameters()]
    hidden = IMAGES.reshape(2, 16) @ weights[0].T + weights[1]
    (hidden @ weights[2].T + weights[3]).square().mean().backward()
    assert weights[0].grad is not None
    torch.testing.assert_close(first.weight.grad, weights[0].grad * 2)
    torch.testing.assert_close(last.weight.grad, weights[2].grad)


def test_one_object_of_a_class_may_stand_in_two_places() -> None:
    network = built(
        """
        local Squared = torch.class('nn.Squared', 'nn.Module')
        function Squared:updateOutput(input)
            self.kept, self.output = input:clone(), torch.cmul(input, input)
            return self.output
        end
        function Squared:updateGradInput(input, gradOutput)
            self.gradInput = torch.cmul(gradOutput, self.kept) * 2
            return self.gradInput
        end
        local squared = nn.Squared()
        net:add(nn.Linear(16, 3)):add(squared):add(nn.Linear(3, 3)):add(squared)
        """
    )
    network.model(IMAGES).mean().backward()
    weights = [parameter.detach().clone().requires_grad_() for parameter in network.model.parameters()]
    first = (IMAGES.reshape(2, 16) @ weights[0].T + weights[1]).square()
    (first @ weights[2].T + weights[3]).square().mean().backward()
    for parameter, weight in zip(network.model.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter.grad, weight.grad)


def test_a_network_may_have_all_its_weights_within_classes_of_its_own() -> None:
    text = """
    local Net, parent = torch.class('nn.Net', 'nn.Sequential')
    function Net:updateOutput(input) return parent.updateOutput(self, input * 0.01) end
    function Net:updateGradInput(input, gradOutput) return parent.updateGradInput(self, input * 0.01, gradOutput) * 0.01 end
    function Net:accGradParameters(input, gradOutput, scale) parent.accGradParameters(self, input * 0.01, gradOutput, scale) end
    return function(params)
        local net = nn.Net():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(16, 2))
        return { model = net, loss = nn.MSECriterion(), labelHook = function(input) return torch.zeros(input:size(1), 2) end }
    end
    """
    network, report = build_and_check(text, (1, 4, 4), (), framework="torch")
    assert report.parameters == 34
    assert all(parameter.grad is None for parameter in network.model.parameters()), "the check leaves nothing"


def test_reset_of_a_container_draws_the_weights_of_all_its_modules() -> None:
    network = built("net:add(nn.Linear(16, 2)):add(nn.Tanh()):add(nn.Linear(2, 2)) net:reset(0.001)")
    assert all(bool((parameter.abs() < 0.002).all()) for parameter in network.model.parameters())


@pytest.mark.parametrize("kind", ["double", "cuda", "half"])
def test_another_type_is_a_copy(kind: str) -> None:
    network = built(f"net:add(nn.Linear(16, 2)) net:get(2).bias:fill(3) net:get(2).bias:{kind}():zero()")
    assert linears(network)[0].bias.tolist() == [3, 3]
