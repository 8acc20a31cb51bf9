"""Networks of all the families that people have in Lua are built, tried and learn."""

import pytest
import torch
from torch import nn

from jobs.building import build_and_check
from jobs.networks.contract import Network, NetworkParams
from jobs.showing import pass_through
from jobs.torch7.contract import build_lua_network
from jobs.torch7.own_class import LuaModule
from jobs.training.solvers import make_optimizer
from tests.unit.torch7 import networks

FAMILIES = {
    "autoencoder": (networks.AUTOENCODER, (1, 28, 28), ()),
    "lenet": (networks.LENET, (1, 28, 28), ()),
    "alexnet": (networks.ALEXNET, (3, 72, 72), ()),
    "googlenet": (networks.GOOGLENET, (3, 32, 32), ()),
    "siamese": (networks.SIAMESE, (3, 28, 28), ()),
    "fine-tuned": (networks.FINE_TUNED, (1, 28, 28), ()),
    "segmentation": (networks.SEGMENTATION, (1, 16, 16), (1, 16, 16)),
    "text": (networks.TEXT, (1, 8, 8), ()),
    "regression": (networks.REGRESSION, (3, 8, 6), (2,)),
    "two outputs": (networks.TWO_OUTPUTS, (1, 28, 28), (2,)),
    "graph": (networks.GRAPH, (1, 28, 28), ()),
    "own names": (networks.OWN_NAMES, (1, 28, 28), ()),
    "inherited": (networks.INHERITED, (1, 28, 28), ()),
    "own class": (networks.OWN_CLASS, (1, 28, 28), ()),
    "weights": (networks.WEIGHTS, (1, 28, 28), (3,)),
}


# Where nothing scales the images, a larger step would leap over everything.
RATES = {"regression": 1e-8, "two outputs": 1e-8, "own class": 1e-8, "alexnet": 1e-6}


def built(text: str, shape: tuple[int, int, int], **params: int) -> Network:
    torch.manual_seed(1)
    return build_lua_network(text, NetworkParams(shape, **params))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_of_every_family_passes_the_check(family: str) -> None:
    text, image_shape, label_shape = FAMILIES[family]
    network, report = build_and_check(text, image_shape, label_shape, framework="torch")
    assert report.parameters == sum(parameter.numel() for parameter in network.model.parameters()) > 0
    assert all(layer.line for layer in report.layers), "every layer has the line that made it"
    assert all(layer.name.startswith(("nn.", "cudnn.")) for layer in report.layers)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_of_every_family_learns(family: str) -> None:
    text, image_shape, label_shape = FAMILIES[family]
    torch.manual_seed(1)
    network, _report = build_and_check(text, image_shape, label_shape, framework="torch")
    size = network.crop_size or image_shape[1]
    images = torch.rand(6, image_shape[0], size, network.crop_size or image_shape[2])
    images = (images * 12).floor() + 1 if family == "text" else images * 255 - 128
    labels = torch.rand(6, *label_shape) if label_shape else torch.arange(6) % 2 + 1
    optimizer = make_optimizer("SGD", network.model.parameters(), RATES.get(family, 1e-3), "torch")
    network.model.eval()

    def loss() -> torch.Tensor:
        # The hook may change its labels, as the siamese one does.
        return network.loss(network.model(images), network.label_hook(images, labels.clone()))

    first = loss().item()
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < first


def test_text_as_characters() -> None:
    network = built(networks.TEXT, (1, 8, 8))
    characters = torch.randint(1, 13, (4, 1, 8, 8)).float()
    output = network.model(characters)
    assert output.shape == (4, 2)
    assert network.loss(output, torch.tensor([1.0, 2, 1, 2])).isfinite()


def test_the_twins_of_a_siamese_network_have_the_same_weights_and_learn_together() -> None:
    network = built(networks.SIAMESE, (3, 28, 28))
    convolutions = [module for module in network.model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 2
    assert convolutions[0].weight is convolutions[1].weight
    left, right = network.model(torch.rand(2, 3, 28, 28))
    assert left.shape == right.shape == (2, 2)


def test_a_hook_for_fine_tuning_changes_the_model_and_what_it_freezes_stays() -> None:
    network = built(networks.FINE_TUNED, (1, 28, 28))
    layers = [module for module in network.model.modules() if isinstance(module, nn.Linear)]
    assert [layer.out_features for layer in layers] == [20, 10, 2]
    assert [layer.weight.requires_grad for layer in layers] == [False, True, True]


def test_weights_come_before_the_hook_for_fine_tuning() -> None:
    seen: list[int] = []
    build_lua_network(
        networks.FINE_TUNED,
        NetworkParams((1, 28, 28)),
        load_weights=lambda model: seen.append(sum(isinstance(part, nn.Linear) for part in model.modules())),
    )
    assert seen == [2]


def test_flat_weights_are_the_weights() -> None:
    network = built(networks.WEIGHTS, (1, 28, 28))
    first, second = (module for module in network.model.modules() if isinstance(module, nn.Linear))
    assert first.bias.tolist() == [2.0] * 4
    assert second.bias.tolist() == [4.0] * 3
    assert not first.weight.any()


def test_a_class_of_ones_own_has_its_own_gradient_and_name() -> None:
    network = built(networks.OWN_CLASS, (1, 28, 28))
    own = next(module for module in network.model.modules() if isinstance(module, LuaModule))
    assert own.described() == "nn.Half(784)"
    images = torch.rand(3, 1, 28, 28, requires_grad=True)
    network.model(images).sum().backward()
    linear = next(module for module in network.model.modules() if isinstance(module, nn.Linear))
    of_each = (linear.weight.sum(0) * own.weight).reshape(1, 28, 28)
    torch.testing.assert_close(images.grad, of_each.expand(3, 1, 28, 28))
    torch.testing.assert_close(own.weight.grad, (images.reshape(3, -1) * linear.weight.sum(0)).sum(0))


def test_a_graph_is_what_its_nodes_say() -> None:
    network = built(networks.GRAPH, (1, 28, 28))
    linears = [module for module in network.model.modules() if isinstance(module, nn.Linear)]
    images = torch.rand(2, 1, 28, 28)
    left = torch.tanh(linears[0](images.flatten(1)))
    both = left + torch.relu(linears[1](images.flatten(1)))
    expected = torch.log_softmax(linears[2](torch.cat([both, left], 1)), 1)
    torch.testing.assert_close(network.model(images), expected)


def test_the_autoencoder_has_the_weights_of_its_twin_in_python() -> None:
    torch.manual_seed(3)
    twin = nn.Sequential(nn.Linear(784, 300), nn.Linear(300, 50), nn.Linear(50, 300), nn.Linear(300, 784))
    torch.manual_seed(3)
    network = build_lua_network(networks.AUTOENCODER, NetworkParams((1, 28, 28)))
    for mine, other in zip(network.model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_several_gpus_wrap_the_part_that_asks_for_them() -> None:
    network = built(networks.ALEXNET, (3, 72, 72), n_gpus=2)
    assert "DataParallelTable" in (network.printed or "")
    assert network.crop_size == 64


def test_what_an_object_of_ones_own_keeps_moves_with_its_weights() -> None:
    network = built(networks.OWN_CLASS, (1, 28, 28))
    network.model.double()
    network.model(torch.rand(2, 1, 28, 28, dtype=torch.float64)).sum().backward()
    own = next(module for module in network.model.modules() if isinstance(module, LuaModule))
    assert own.weight.grad is not None
    assert own.weight.grad.dtype == torch.float64


def test_classes_that_inherit_from_nns_own_have_their_weights_and_gradients() -> None:
    network = built(networks.INHERITED, (1, 28, 28))
    doubled, residual, block = [module for module in network.model.modules() if isinstance(module, nn.Linear)]
    images = torch.rand(3, 1, 28, 28, requires_grad=True)
    network.model(images).square().sum().backward()
    found = [images.grad, *(layer.weight.grad for layer in (doubled, residual, block))]
    images.grad = None
    for layer in (doubled, residual, block):
        layer.zero_grad()
    hidden = 2 * doubled(images.flatten(1) * 0.01)
    torch.tanh(block(residual(hidden) + hidden)).square().sum().backward()
    for mine, expected in zip(
        found, [images.grad, *(layer.weight.grad for layer in (doubled, residual, block))], strict=True
    ):
        torch.testing.assert_close(mine, expected)


def test_weights_that_parameters_names_learn_and_what_an_object_runs_itself_is_evaluated_with_it() -> None:
    network = built(networks.OWN_NAMES, (1, 28, 28))
    assert sum(parameter.numel() for parameter in network.model.parameters()) == 784 + 784 * 20 + 20 + 20 * 10 + 10
    images = torch.rand(4, 1, 28, 28) * 255
    network.model.eval()
    assert torch.equal(network.model(images), network.model(images)), "no dropout"
    network.model.train()
    assert not torch.equal(network.model(images), network.model(images)), "dropout"
    network.model(images).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.model.parameters())


def test_an_image_that_goes_through_alone_keeps_its_shape() -> None:
    text = networks.AUTOENCODER.replace(":setNumInputDims(1))", ")")
    network = built(text, (1, 28, 28))
    network.model.eval()
    passed = pass_through(network, torch.rand(1, 1, 28, 28))
    assert passed.outputs[0].shape == (1, 1, 28, 28)
    assert passed.calls[-1].outputs[0].shape == (1, 1, 28, 28)


def test_layers_of_cudnn_have_its_names_and_its_defaults() -> None:
    network = built(
        """
        require 'cudnn'
        return function()
            local net = nn.Sequential():add(cudnn.SpatialConvolution(1, 2, 3, 3, 1, 1, 1)):add(cudnn.ReLU(true))
            net:add(nn.SpatialConvolution(2, 2, 3, 3, 1, 1, 1)):add(cudnn.Linear and nn.View(-1):setNumInputDims(3))
            assert(#net:findModules('cudnn.SpatialConvolution') == 1 and #net:findModules('nn.SpatialConvolution') == 1)
            assert(torch.type(net:get(2)) == 'cudnn.ReLU' and torch.isTypeOf(net:get(1), 'nn.SpatialConvolution'))
            assert(net:get(1):clone().padH == 0)
            return { model = net }
        end
        """,
        (1, 8, 8),
    )
    assert network.printed is not None
    assert "(1): cudnn.SpatialConvolution(1 -> 2, 3x3, 1,1, 1,0)\n  (2): cudnn.ReLU\n" in network.printed
    assert "(3): nn.SpatialConvolution(2 -> 2, 3x3, 1,1, 1,1)" in network.printed
    first, second = (module for module in network.model.modules() if isinstance(module, nn.Conv2d))
    assert (first.padding, second.padding) == ((0, 1), (1, 1))


def test_a_network_may_be_converted_to_cudnn_and_back() -> None:
    text = """
    require 'cudnn'
    return function()
        local net = nn.Sequential():add(nn.SpatialConvolution(1, 2, 3, 3)):add(nn.ReLU()):add(nn.View(-1):setNumInputDims(3))
        local weight = net:get(1).weight
        cudnn.convert(net, cudnn)
        assert(tostring(net:get(1)) == 'cudnn.SpatialConvolution(1 -> 2, 3x3)' and net:get(1).weight:sum() == weight:sum())
        %s
        return { model = net }
    end
    """
    assert "cudnn.ReLU" in (built(text % "", (1, 8, 8)).printed or "")
    assert "cudnn" not in (built(text % "cudnn.convert(net, nn)", (1, 8, 8)).printed or "")
