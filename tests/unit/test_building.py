"""A network tried on two images: its table of layers, or which layer does not fit."""

import pytest
import torch

from jobs.building import build_and_check
from jobs.errors import BadNetwork, UserError
from jobs.networks.starter import starter_network

SEED = starter_network((1, 28, 28))


def report_of(text: str, label_shape=(), **options):
    return build_and_check(text, (1, 28, 28), label_shape, **options)[1]


def fault_of(text: str, label_shape=()) -> BadNetwork:
    with pytest.raises(BadNetwork) as caught:
        report_of(text, label_shape)
    return caught.value


def convolutions(layers: str, rest: str = "loss=nn.MSELoss(), label_hook=lambda input, label: input") -> str:
    return f"def network(params):\n    return dict(model=nn.Sequential(\n        {layers}), {rest})"


def test_seed_is_ten_layers_in_a_chain():
    report = report_of(SEED)
    assert [layer.name for layer in report.layers] == [
        "Scale(0.00390625)",
        "nn.Flatten",
        "nn.Linear(784 → 300)",
        "nn.ReLU",
        "nn.Linear(300 → 50)",
        "nn.ReLU",
        "nn.Linear(50 → 300)",
        "nn.ReLU",
        "nn.Linear(300 → 784)",
        "nn.Unflatten(1 → 1×28×28)",
    ]
    assert [layer.inputs for layer in report.layers] == [[index - 1] for index in range(10)]
    assert [layer.shape for layer in report.layers][:3] == [[1, 28, 28], [784], [300]]
    assert [layer.parameters for layer in report.layers if layer.parameters] == [235_500, 15_050, 15_300, 235_984]
    assert report.parameters == 501_834
    assert report.output_shape == [1, 28, 28]
    assert report.layers[2].line == 5


def test_branches_are_found_through_functions_and_in_place_layers():
    report = report_of("""
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.out = nn.Conv2d(8, 1, 1)
    def forward(self, x):
        a = self.relu(self.a(x))
        b = self.relu(self.b(a))
        return self.out(torch.cat([a, a + b], 1))

def network(params):
    return dict(model=Block(), loss=nn.MSELoss(), label_hook=lambda input, label: input)
""")
    assert [(layer.path, layer.inputs) for layer in report.layers] == [
        ("a", [-1]),
        ("relu", [0]),
        ("b", [1]),
        ("relu", [2]),
        ("out", [1, 3]),
    ]
    assert report.layers[0].name == "nn.Conv2d(1 → 4, 3×3, padding 1)"


def test_layer_that_gives_several_tensors_has_several_shapes():
    report = report_of("""
class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(28, 4)
    def forward(self, x):
        return self.attention(x[:, 0], x[:, 0], x[:, 0])[0][:, None]
def network(params):
    return dict(model=Attends(), loss=nn.MSELoss(), label_hook=lambda input, label: input)
""")
    assert [layer.type for layer in report.layers] == ["MultiheadAttention"]
    assert report.layers[0].shape == [[28, 28], [2, 2]]
    assert report.layers[0].parameters == 4 * 28 * 28 + 4 * 28


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (SEED.replace("300, 50", "784, 50"), 5, "nn.Linear(784 → 50) on line 5 got 300 values an image, it takes 784."),
        (SEED.replace(" nn.Flatten(),", ""), 5, "Is nn.Flatten() missing before it?"),
        (SEED.replace("(1, 28, 28)", "(1, 28, 29)"), 6, "got 784 values an image; 1×28×29 are 812."),
        (convolutions("nn.Conv2d(3, 8, 3)"), 3, "nn.Conv2d(3 → 8, 3×3) on line 3 got 1 channel, it takes 3."),
        (convolutions("nn.Flatten(), nn.Conv2d(1, 8, 3)"), 3, "got images of shape 784, it takes channels"),
        (
            convolutions("nn.Conv2d(1, 8, 3), nn.BatchNorm2d(4)"),
            3,
            "nn.BatchNorm2d(4) on line 3 got 8 channels, it takes 4",
        ),
        (
            convolutions("nn.Conv2d(1, 8, 30)"),
            3,
            "nn.Conv2d(1 → 8, 30×30) on line 3 cannot take its input of shape 1×28×28",
        ),
    ],
)
def test_layer_that_does_not_fit_is_named_with_its_line(text, line, said):
    fault = fault_of(text)
    assert said in str(fault)
    assert fault.line == line
    assert fault.layer in str(fault)


def test_fault_in_an_own_forward_names_the_line_of_code():
    fault = fault_of("""
class Own(nn.Module):
    def forward(self, x):
        return x.view(-1, 5)
def network(params):
    return dict(model=nn.Sequential(Own(), nn.Linear(5, 5)))
""")
    assert fault.line == 4
    assert "Own" in str(fault)


HOOK = "lambda input, label: input"
DETACHES = "class Own(nn.Module):\n  def forward(self, x): return x.detach()\n" + convolutions(
    "nn.Conv2d(1, 1, 1), Own()"
)
RETURNS_3 = DETACHES.replace("x.detach()", "3")


@pytest.mark.parametrize(
    ("text", "label_shape", "said"),
    [
        (SEED.replace(HOOK, "lambda input, label: label"), (50,), "shape 1×28×28 for one image and the target 50"),
        (SEED.replace(HOOK, "lambda input, label: label"), (), "the target one number"),
        (SEED.replace("nn.MSELoss()", "None").replace(HOOK, "None"), (), "the default where a network names no loss"),
        (SEED.replace("nn.MSELoss()", "nn.MSELoss(reduction='none')"), (), "must be one number"),
        (SEED.replace(HOOK, "lambda input, label: input.bogus"), (), "bogus"),
        (SEED.replace("nn.MSELoss()", "lambda output, target: bogus"), (), "line 9"),
        (SEED.replace("Scale(1 / 256)", "Scale(1e38), Scale(1e38)"), (), "values that are not finite"),
        (convolutions("nn.ReLU()"), (), "no parameters to learn"),
        ("def network(params): return dict(model=nn.Sequential(nn.LSTM(28, 3)))", (), "nn.LSTM(28 → 3)"),
        (DETACHES, (), "does not depend on the network's parameters"),
        (RETURNS_3, (), "must return a tensor"),
    ],
)
def test_network_that_cannot_learn_is_refused(text, label_shape, said):
    assert said in str(fault_of(text, label_shape))


def test_target_of_another_shape_is_refused_even_where_torch_would_stretch_it():
    text = convolutions("nn.Flatten(), nn.Linear(784, 2)", "loss=nn.MSELoss()")
    assert "they must have the same shape" in str(fault_of(text))


def test_check_leaves_weights_statistics_and_randomness_alone():
    text = convolutions("nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.5)")
    torch.manual_seed(3)
    network, _ = build_and_check(text, (1, 28, 28), ())
    drawn = torch.rand(1)
    torch.manual_seed(3)
    torch.nn.Conv2d(1, 1, 1)
    assert torch.equal(drawn, torch.rand(1))
    assert network.model[1].running_mean.item() == 0
    assert network.model[1].num_batches_tracked.item() == 0
    assert all(parameter.grad is None for parameter in network.model.parameters())


def test_lazy_layers_get_their_shape():
    report = report_of(convolutions("nn.Flatten(), nn.LazyLinear(10), nn.LogSoftmax(1)", "loss=None"))
    assert report.layers[1].parameters == 7850


def test_crop_is_what_the_network_sees():
    text = """
def network(params):
    values = params.input_shape[1] * params.input_shape[2]
    return dict(model=nn.Sequential(nn.Flatten(), nn.Linear(values, 2), nn.LogSoftmax(1)))
"""
    assert report_of(text, crop_size=20).layers[0].shape == [400]


def test_crop_that_is_too_large_is_refused():
    with pytest.raises(UserError, match="bigger than the images"):
        report_of(SEED, crop_size=29)
