"""What a pasted text must be, and the sentence for each way in which it is not."""

import pytest
import torch
from torch import nn

from jobs.errors import BadNetwork
from jobs.networks.contract import NetworkParams, Scale, build_network
from jobs.networks.starter import starter_network

DESIGN_TWIN = """\
from torch import nn

autoencoder = nn.Sequential(
    Scale(1 / 256), nn.Flatten(),
    nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 50), nn.ReLU(),
    nn.Linear(50, 300), nn.ReLU(), nn.Linear(300, 784), nn.Unflatten(1, (1, 28, 28)))

def network(params):
    return dict(model=autoencoder, loss=nn.MSELoss(), train_batch_size=64, validation_batch_size=100,
                label_hook=lambda input, label: input)   # the target is the input
"""

PARAMS = NetworkParams((1, 28, 28))


def fault_of(text: str) -> BadNetwork:
    with pytest.raises(BadNetwork) as caught:
        build_network(text, PARAMS)
    return caught.value


def test_networks_of_torchvision_are_networks_like_others() -> None:
    network = build_network(
        """
from torchvision.models import squeezenet1_1
from torchvision.transforms.v2 import functional

def network(params):
    return dict(model=squeezenet1_1(num_classes=10), loss=nn.CrossEntropyLoss(),
                label_hook=lambda input, label: label)
""",
        NetworkParams((3, 64, 64)),
    )
    assert network.model(torch.zeros(2, 3, 64, 64)).shape == (2, 10)


def test_compiled_model_is_refused_with_what_to_do() -> None:
    text = "def network(params):\n    return dict(model=torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(784, 2))))"
    assert "torch.compile does not work here" in str(fault_of(text))


def test_starter_is_the_seed():
    assert starter_network((1, 28, 28)) == DESIGN_TWIN


def test_starter_fits_any_image():
    network = build_network(starter_network((3, 8, 6)), NetworkParams((3, 8, 6)))
    assert network.model(torch.zeros(2, 3, 8, 6)).shape == (2, 3, 8, 6)


def test_seed_is_built_with_its_options():
    network = build_network(DESIGN_TWIN, PARAMS)
    assert sum(parameter.numel() for parameter in network.model.parameters()) == 501_834
    assert (network.train_batch_size, network.validation_batch_size) == (64, 100)
    image = torch.ones(1)
    assert network.label_hook(image, torch.zeros(1)) is image
    assert isinstance(network.model[0], Scale)


def test_defaults_are_those_of_digits():
    network = build_network("def network(params): return {'model': nn.Linear(1, 1)}", PARAMS)
    assert isinstance(network.loss, nn.NLLLoss)
    assert (network.train_batch_size, network.validation_batch_size) == (16, 16)
    label = torch.ones(1)
    assert network.label_hook(torch.zeros(1), label) is label


def test_object_with_attributes_will_do():
    text = "class Found:\n  model = nn.Linear(1, 1)\n  loss = nn.MSELoss()\ndef network(params): return Found()"
    assert isinstance(build_network(text, PARAMS).loss, nn.MSELoss)


def test_params_read_as_attributes_and_as_items():
    text = """
def network(params):
    channels, height, width = params.input_shape
    assert params["input_shape"] == params.input_shape and params["n_classes"] is None and params.n_gpus == 0
    return dict(model=nn.Linear(channels * height * width, 1))
"""
    assert build_network(text, PARAMS).model.in_features == 784


def test_line_that_made_each_module_is_known():
    network = build_network(DESIGN_TWIN, PARAMS)
    assert [network.line_of(module) for module in network.model] == [4, 4, 5, 5, 5, 5, 6, 6, 6, 6]


def test_module_of_an_own_class_is_made_where_the_class_is_called():
    text = """
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(1, 1)

def network(params):
    return dict(model=Block())
"""
    network = build_network(text, PARAMS)
    assert network.line_of(network.model) == 8
    assert network.line_of(network.model.inner) == 5


def test_dataclasses_and_prints_work_in_the_text():
    text = """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Options:
    width: int = 3
def network(params):
    return dict(model=nn.Linear(Options().width, 1))
"""
    assert build_network(text, PARAMS).model.in_features == 3


def test_syntax_error_names_its_line():
    fault = fault_of("import torch\ndef network(params:\n    pass")
    assert fault.line == 2
    assert "no Python on line 2" in str(fault)


def test_failing_text_names_line_and_error():
    fault = fault_of(DESIGN_TWIN.replace("nn.MSELoss()", "BogusCode()"))
    assert fault.line == 9
    assert "line 9" in str(fault)
    assert "BogusCode" in str(fault)


def test_text_that_exits_is_a_fault():
    fault = fault_of("import sys\nsys.exit(0)")
    assert fault.line == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "defines no function `network`"),
        ("network = 3", "defines no function `network`"),
        ("def network(params): pass", "returns nothing"),
        ("def network(params): return 3", "returns 3 (int)"),
        ("def network(params): return nn.Linear(1, 1)", "returns the model alone"),
        ("def network(params): return dict(loss=nn.MSELoss())", "returns no model"),
        ("def network(params): return dict(model='net')", "`model` is 'net' (str)"),
        ("def network(params): return dict(model=nn.ReLU)", "Make one of it: ReLU(…)"),
        ("def network(params): return dict(model=nn.ReLU(), loss=nn.MSELoss)", "Make one of it: nn.MSELoss()"),
        ("def network(params): return dict(model=nn.ReLU(), loss=3)", "`loss` is 3 (int)"),
        ("def network(params): return dict(model=nn.ReLU(), trainBatchSize=3)", "Did you mean 'train_batch_size'?"),
        ("def network(params): return dict(model=nn.ReLU(), labelHook=3)", "Did you mean 'label_hook'?"),
        ("def network(params): return dict(model=nn.ReLU(), croplen=3)", "Did you mean 'crop_size'?"),
        ("def network(params): return dict(model=nn.ReLU(), train_batch_size=0)", "whole number, 1 or more"),
        ("def network(params): return dict(model=nn.ReLU(), train_batch_size=True)", "whole number, 1 or more"),
        ("def network(params): return dict(model=nn.ReLU(), label_hook='x')", "`label_hook` is 'x' (str)"),
        ("def network(params): return params['input_shap']", "input_shap"),
        ("\0", "null bytes"),
    ],
)
def test_each_wrong_return_gets_its_sentence(text, said):
    assert said in str(fault_of(text))


def test_building_leaves_torch_as_it_was():
    before = nn.Module.__init__
    fault_of("def network(params): return dict(model=nn.Linear(1, 1), bogus=1)")
    assert nn.Module.__init__ is before
