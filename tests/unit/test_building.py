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


def of_five_classes(loss: str, label: str = "label") -> str:
    return convolutions("nn.Flatten(), nn.Linear(784, 5)", f"loss={loss}, label_hook=lambda input, label: {label}")


@pytest.mark.parametrize(
    ("text", "labels", "said"),
    [
        (
            of_five_classes("nn.CrossEntropyLoss()"),
            (0, 9),
            "the class 9, and the output has only 5 classes, from 0 to 4",
        ),
        (of_five_classes("nn.NLLLoss()"), (0, 5), "The last layer needs 6 outputs."),
        (of_five_classes("nn.CrossEntropyLoss()"), (1, 5), "The last layer needs 6 outputs."),
        (of_five_classes("nn.CrossEntropyLoss()", "label - 1"), (0, 4), "Let label_hook give classes from 0 on."),
        (of_five_classes("nn.functional.cross_entropy"), (0, 9), "The last layer needs an output for each class"),
    ],
)
def test_class_that_the_output_has_no_place_for_is_refused(text: str, labels: tuple[int, int], said: str) -> None:
    with pytest.raises(BadNetwork) as caught:
        report_of(text, label_range=labels)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (of_five_classes("nn.CrossEntropyLoss()"), (0, 4)),
        (of_five_classes("nn.CrossEntropyLoss()"), (2, 3)),
        (of_five_classes("nn.CrossEntropyLoss()", "label - 1"), (1, 5)),
        (of_five_classes("nn.CrossEntropyLoss(ignore_index=9)"), (0, 9)),
        (of_five_classes("nn.CrossEntropyLoss()", "nn.functional.one_hot(label, 5).float()"), (0, 4)),
        (SEED, (0, 4000)),
    ],
)
def test_classes_that_the_output_has_pass(text: str, labels: tuple[int, int]) -> None:
    assert report_of(text, label_range=labels).advice == ()


def test_lua_hears_that_its_classes_count_from_one() -> None:
    text = """
return function(params)
    local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(784, 10)):add(nn.LogSoftMax())
    return {model = net, loss = nn.ClassNLLCriterion()%s}
end
"""
    with pytest.raises(BadNetwork) as caught:
        report_of(text % "", framework="torch", label_range=(0, 9))
    assert "the class 0, and the output has only 10 classes, from 1 to 10. Let labelHook give" in str(caught.value)
    hook = ", labelHook = function(input, label) return label + 1 end"
    assert report_of(text % hook, framework="torch", label_range=(0, 9)).advice == ()
    with pytest.raises(BadNetwork) as caught:
        report_of(text % hook, framework="torch", label_range=(0, 10))
    assert "The last layer needs 11 outputs." in str(caught.value)


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


LEARNS_ITSELF = "loss=nn.MSELoss(), label_hook=lambda input, label: input"


def with_class(init: str, forward: str, model: str = "Net()", rest: str = LEARNS_ITSELF) -> str:
    return (
        f"class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        {init}\n"
        f"    def forward(self, x):\n        {forward}\n\ndef network(params):\n    return dict(model={model}, {rest})"
    )


LINEAR = "self.fc = nn.Linear(784, 784)"
BACK = ".view(-1, 1, 28, 28)"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (with_class(LINEAR, "self.fc(x.flatten(1))"), None, "Is there a `return` at the end of forward?"),
        (with_class(LINEAR, f"return fc(x.flatten(1)){BACK}"), 6, "name 'fc' is not defined. Is self.fc meant?"),
        (with_class(LINEAR, "return nn.ReLU(x).view(-1)"), 6, "a layer is called with its input: ReLU(…)(x)."),
        (with_class(f"{LINEAR},", "return self.fc(x)"), 6, "'tuple' object is not callable. Does the line that makes"),
        (with_class(LINEAR, "return self.fc(x.view(784))"), 6, "keep the first side, as in x.view(len(x), -1)."),
        (with_class(LINEAR, "return x.numpy()").replace("self, x", "x"), None, "Its first argument is self:"),
        (with_class(LINEAR, "pass").replace("super().__init__()", "pass"), 4, "has to begin with super().__init__()."),
        (with_class(LINEAR, "y = self.fc(x.flatten(1))\n        return y, y"), None, "the model returns 2 tensors"),
        (convolutions("nn.Flaten()"), 3, "has no attribute 'Flaten'. Is Flatten meant?"),
        (convolutions("[nn.Flatten()]"), 2, "Give the layers one by one, as in nn.Sequential(*layers)."),
        (convolutions("nn.Flatten(), nn.Linear(784, params.n_classes)"), 3, "params.n_classes is None here"),
        (convolutions("nn.Conv2d(1, 10, 3)", "loss=nn.CrossEntropyLoss()"), None, "end the model in nn.Flatten()"),
        ("def network():\n    return 1", 1, "`network` takes one argument: def network(params):"),
        (convolutions("nn.Conv2d(1, 1, 1)", "label_hook=lambda i: i"), 3, "`label_hook` takes two arguments"),
        (convolutions("nn.Conv2d(1, 1, 1)", "label_hook=lambda i, l: None"), None, "`label_hook` returns nothing; it must"),
        (convolutions("nn.Conv2d(1, 1, 1)", "loss=lambda output: 1"), 3, "The loss takes two arguments: def loss("),
        ("import torch\nlocal net = nn.Sequential()", 2, "Is this Lua? Choose Torch above the text."),
        ("import a_package_that_is_nowhere", 1, "Networks have PyTorch, torchvision, NumPy and Python's own library."),
    ],
)  # fmt: skip
def test_a_beginners_mistake_is_told_with_what_helps(text, line, said):
    fault = fault_of(text)
    assert said in str(fault)
    assert fault.line == line


@pytest.mark.parametrize(
    ("init", "forward"),
    [
        ("self.layers = [nn.Linear(784, 784)]", "return self.layers[0](x.flatten(1))"),
        (
            "self.layers, self.fc = [nn.Linear(784, 784)], nn.Linear(784, 784)",
            "return self.fc(self.layers[0](x.flatten(1)))",
        ),
        (LINEAR, "return self.fc(nn.Linear(784, 784)(x.flatten(1)))"),
    ],
)
def test_layers_that_nobody_would_train_are_told(init, forward):
    fault = fault_of(with_class(init, forward + BACK))
    assert "nn.Linear(784 → 784)" in str(fault)
    assert "computes and is no part of the model" in str(fault)
    assert fault.line == (4 if "layers" in init else None)
    # Frozen on purpose, as of a network that only helps.
    frozen = init.replace("784)]", "784).requires_grad_(False)]")
    if frozen != init and "self.fc" in init:
        assert report_of(with_class(frozen, forward + BACK)).parameters == 784 * 785


def classes(layers: str, loss: str) -> str:
    return convolutions(f"nn.Flatten(), nn.Linear(784, 10){layers}", f"loss={loss}")


def itself(last: str, target: str = "input") -> str:
    rest = f"loss=nn.MSELoss(), label_hook=lambda input, label: {target}"
    return convolutions(f"nn.Conv2d(1, 1, 1), {last}nn.Flatten(), nn.Unflatten(1, (1, 28, 28))", rest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (classes("", "nn.CrossEntropyLoss()"), None),
        (classes(", nn.Softmax(1)", "nn.CrossEntropyLoss()"), "nn.CrossEntropyLoss takes the softmax itself."),
        (classes(", nn.LogSoftmax(1)", "nn.NLLLoss()"), None),
        (classes("", "nn.NLLLoss()"), "End the model in nn.LogSoftmax(1)."),
        (classes(", nn.Softmax(1)", "nn.NLLLoss()"), "End the model in nn.LogSoftmax(1), in place of nn.Softmax"),
        (classes("", "nn.CrossEntropyLoss()").replace("10)", "1)"), "The output has one class"),
        (itself(""), None),
        (itself("nn.Sigmoid(), "), "nn.Sigmoid gives values up to 1, and the target has some far above"),
        (itself("nn.Sigmoid(), ", "(input + 128) / 255"), None),
        (itself("nn.ReLU(), "), "nn.ReLU gives no values below 0, and the target has many"),
    ],
)
def test_what_can_be_trained_and_is_not_meant_is_told(text, said):
    advice = report_of(text, images_are_centred=True).advice
    assert len(advice) == (said is not None)
    assert said is None or advice[0].startswith(said) or said in advice[0]
    if said and "below 0" in said:
        assert report_of(text).advice == ()


def test_advice_for_torch_names_its_layers():
    text = (
        "return function(params)\n local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(784, 10))\n"
        " net:add(nn.SoftMax())\n return { model = net }\nend"
    )
    (advice,) = report_of(text, framework="torch").advice
    assert advice == (
        "nn.ClassNLLCriterion takes logarithms of probabilities. End the model in nn.LogSoftMax(), in place of nn.SoftMax."
    )
    assert report_of(text.replace("SoftMax", "LogSoftMax"), framework="torch").advice == ()
