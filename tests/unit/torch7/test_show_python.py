"""Show the Python: networks in Lua become texts of Python that do the same, or say what they do not."""

import ast
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from jobs.building import build_and_check
from jobs.comparing import compare
from jobs.errors import BadNetwork
from jobs.networks.contract import Network, NetworkParams, Scale, build_network
from jobs.show_python import PythonOfLua, Question, show_python
from jobs.torch7.contract import build_lua_network
from jobs.torch7.hook_text import hook_text
from jobs.training.job import train
from tests.unit.digits_jobs import events_of, make_dataset, model_job
from tests.unit.torch7 import networks
from tests.unit.torch7.test_networks import FAMILIES
from tests.unit.torch7.test_training import losses

OWN_CLASSES = {"inherited", "own class", "own names"}
IMAGES = Question((1, 28, 28), ())


def network(
    *statements: str, loss: str = "nn.MSECriterion()", hook: str = "return input:view(input:size(1), -1)"
) -> str:
    """A text whose lines after the second are these statements about `net`, which gives as many values as it gets."""
    return "\n".join([
        "return function(params)",
        "local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3))",
        *statements,
        f"return {{ model = net, loss = {loss}, labelHook = function(input, label) {hook} end }}",
        "end",
    ])  # fmt: skip


def shown(text: str, question: Question = IMAGES) -> PythonOfLua:
    return show_python(text, question)


def same_python(*statements: str, **fields: str) -> str:
    """The Python of a network, which does the same."""
    found = shown(network(*statements, **fields))
    assert found.is_same, found.notes
    assert found.notes == []
    return found.python


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - OWN_CLASSES))
def test_networks_of_all_families_do_the_same_in_python(family: str) -> None:
    text, image_shape, label_shape = FAMILIES[family]
    found = shown(text, Question(image_shape, label_shape))
    assert found.is_same, found.notes
    in_lua, of_lua = build_and_check(text, image_shape, label_shape, framework="torch")
    in_python, of_python = build_and_check(found.python, image_shape, label_shape)
    assert of_python.parameters == of_lua.parameters
    assert in_python.train_batch_size == in_lua.train_batch_size
    assert in_python.validation_batch_size == in_lua.validation_batch_size
    assert in_python.crop_size == in_lua.crop_size


def test_the_autoencoder_reads_as_a_person_would_write_it() -> None:
    assert shown(networks.AUTOENCODER).python == (
        """\
# Made from Lua, for images of 1×28×28.


def label_hook(input, label):
    return input


def network(params):
    model = nn.Sequential(
        Scale(0.00390625),
        nn.Flatten(),
        nn.Linear(784, 300),
        nn.ReLU(),
        nn.Linear(300, 50),
        nn.ReLU(),
        nn.Linear(50, 300),
        nn.ReLU(),
        nn.Linear(300, 784),
        nn.Unflatten(1, (1, 28, 28)),
    )
    return {
        "model": model,
        "loss": nn.MSELoss(),
        "train_batch_size": 64,
        "validation_batch_size": 100,
        "label_hook": label_hook,
    }
"""
    )


def test_the_python_trains_to_the_curve_of_the_lua(tmp_path: Path) -> None:
    text = networks.LENET.replace(
        "trainBatchSize", "labelHook = function(input, label) return label + 1 end, trainBatchSize"
    )
    python = shown(text).python
    curves = []
    for framework, one in (("torch", text), ("pytorch", python)):
        jobs_dir = tmp_path / framework
        make_dataset(jobs_dir)
        job = model_job(jobs_dir, framework=framework, custom_network=one, train_epochs=3, random_seed=5)
        train(job)
        curves.append((losses(events_of(job, "train")), [event["loss"] for event in events_of(job, "validation")]))
    assert curves[0] == curves[1]
    assert len(curves[0][0]) > 3


# Weights


def test_modules_made_in_another_order_than_they_stand_draw_the_same_weights() -> None:
    python = same_python("local last = nn.Linear(10, 784)", "net:add(nn.Linear(784, 10)):add(nn.Tanh()):add(last)")
    assert python.index("linear_1 = nn.Linear(10, 784)") < python.index("linear_2 = nn.Linear(784, 10)")


def test_a_layer_that_is_drawn_last_and_not_used_is_left_out() -> None:
    python = same_python("net:add(nn.Linear(784, 784))", "local unused = nn.Linear(3, 4)")
    assert "nn.Linear(3, 4)" not in python
    assert "linear_1" not in python


def test_a_layer_that_is_drawn_and_not_used_draws_in_python_too() -> None:
    python = same_python("local unused = nn.Linear(3, 4)", "net:add(nn.Linear(784, 784))")
    assert "nn.Linear(3, 4)  # Not in the model" in python


@pytest.mark.parametrize(
    ("statement", "python"),
    [
        ("net:get(2).bias:fill(0.1)", "nn.init.constant_(linear_1.bias, 0.1)"),
        ("net:get(2).weight:zero()", "nn.init.zeros_(linear_1.weight)"),
        ("net:get(2).weight:normal(0, 0.01)", "nn.init.normal_(linear_1.weight, 0, 0.01)"),
        ("net:get(2).weight:uniform(-0.1, 0.1)", "nn.init.uniform_(linear_1.weight, -0.1, 0.1)"),
        ("net:get(2).weight:mul(0.5)", "linear_1.weight.data.mul_(0.5)"),
        ("net:get(2):reset()", "linear_1.reset_parameters()"),
        ("net:get(2):reset(0.02)", "nn.init.uniform_(linear_1.bias, -0.03464"),
        ("net:get(2):noBias()", "linear_1.bias = None"),
        ("net:get(2).bias = nil", "linear_1.bias = None"),
        ("net:getParameters():uniform(-0.05, 0.05)", "nn.init.uniform_(all_weights, -0.05, 0.05)"),
        (
            "net:get(2).accGradParameters = function() end net:add(nn.Linear(784, 784))",
            "linear_1.requires_grad_(False)",
        ),
    ],
)
def test_what_is_done_to_weights_is_done_in_python(statement: str, python: str) -> None:
    assert python in same_python("net:add(nn.Linear(784, 784))", statement)


def test_weights_that_are_shared_stay_shared() -> None:
    text = network(
        "local one = nn.Linear(784, 784)",
        "net:add(one):add(nn.Tanh()):add(one:clone('weight', 'bias', 'gradWeight', 'gradBias'))",
    )
    found = shown(text)
    assert found.is_same
    twin, report = build_and_check(found.python, (1, 28, 28), ())
    assert report.parameters == 784 * 785
    assert len(list(twin.model.parameters())) == 2


@pytest.mark.parametrize("names", [("first", "last"), ("last", "first")])
def test_weights_that_are_shared_transposed_stay_shared(names: tuple[str, str]) -> None:
    sizes = {"first": "784, 30", "last": "30, 784"}
    python = same_python(
        *(f"local {name} = nn.Linear({sizes[name]})" for name in names),
        "last.weight = first.weight:t()",
        "net:add(first):add(nn.Tanh()):add(last)",
    )
    _twin, report = build_and_check(python, (1, 28, 28), ())
    assert report.parameters == 784 * 30 + 30 + 784


def test_a_layer_that_has_a_part_of_anothers_weights_is_told() -> None:
    text = network(
        "local one, other = nn.Linear(784, 784), nn.Linear(784, 2)",
        "other.weight = one.weight:narrow(1, 1, 2)",
        "net:add(one):add(other)",
        hook="return torch.zeros(input:size(1), 2)",
    )
    with pytest.raises(BadNetwork, match=r"nn.Linear\(784 -> 2\), which has a part of the weights of another layer"):
        shown(text)


def test_a_copy_has_weights_of_its_own() -> None:
    python = same_python("local one = nn.Linear(784, 784)", "net:add(one):add(nn.Tanh()):add(one:clone())")
    _twin, report = build_and_check(python, (1, 28, 28), ())
    assert report.parameters == 2 * 784 * 785


def test_a_module_that_stands_in_two_places_is_one_in_python() -> None:
    python = same_python("local one = nn.Linear(784, 784)", "net:add(one):add(nn.Tanh()):add(one)")
    assert python.count("nn.Linear(784, 784)") == 1


def test_weights_that_come_from_elsewhere_are_told() -> None:
    found = shown(network("net:add(nn.Linear(784, 784))", "net:get(2).weight:copy(torch.eye(784))"))
    assert not found.is_same
    assert any("linear_1.weight from a tensor of 614656 values" in note.text for note in found.notes)
    assert any("begins with other weights" in note.text for note in found.notes)


# Modules


@pytest.mark.parametrize(
    ("statement", "python"),
    [
        ("net:add(nn.Linear(784, 784, false))", "nn.Linear(784, 784, bias=False)"),
        ("net:add(nn.Linear(784, 784)):add(nn.LeakyReLU(0.2, true))", "nn.LeakyReLU(0.2)"),
        ("net:add(nn.Linear(784, 784)):add(nn.Dropout(0.3))", "nn.Dropout(0.3)"),
        ("net:add(nn.Linear(784, 784)):add(nn.Dropout(0.3, true))", "torch7.Dropout(0.3, True)"),
        ("net:add(nn.Linear(784, 784)):add(nn.BatchNormalization(784))", "torch7.BatchNormalization(784)"),
        ("net:add(nn.CMul(784)):add(nn.CAdd(784))", "torch7.CMul(784)"),
        ("net:add(nn.Linear(784, 784)):add(nn.SoftMax())", "nn.Softmax(dim=1)"),
        ("net:add(nn.Linear(784, 784)):add(nn.Bottle(nn.Linear(784, 784)))", "torch7.Bottle([nn.Linear(784, 784)])"),
        ("net:add(nn.Linear(784, 784)):add(nn.AddConstant(1e-6))", "torch7.AddConstant(1e-06)"),
    ],
)
def test_modules_are_pytorchs_where_they_are_the_same_and_torchs_where_not(statement: str, python: str) -> None:
    assert python in same_python(statement)


@pytest.mark.parametrize(
    ("layer", "python"),
    [
        ("nn.SpatialConvolution(1, 4, 5, 3, 2, 1, 0, 1)", "nn.Conv2d(1, 4, (3, 5), stride=(1, 2), padding=(1, 0))"),
        ("nn.SpatialConvolution(1, 4, 5, 5, 1, 1, 2)", "nn.Conv2d(1, 4, 5, padding=2)"),
        ("nn.SpatialFullConvolution(1, 2, 4, 4, 2, 2, 1, 1)", "torch7.SpatialFullConvolution(1, 2, 4, 4, 2, 2, 1, 1)"),
        ("nn.SpatialMaxPooling(3, 2, 2, 3):ceil()", "nn.MaxPool2d((2, 3), stride=(3, 2), ceil_mode=True)"),
        ("nn.SpatialAveragePooling(2, 2, 2, 2, 1, 1):setCountExcludePad()", "count_include_pad=False"),
        ("nn.SpatialUpSamplingNearest(2)", "torch7.SpatialUpSamplingNearest(2)"),
        ("nn.SpatialCrossMapLRN(5, 1e-4, 0.75, 2)", "torch7.SpatialCrossMapLRN(5, 0.0001, 0.75, 2)"),
    ],
)
def test_layers_of_images_have_height_before_width(layer: str, python: str) -> None:
    text = (
        f"local net = nn.Sequential():add({layer}):add(nn.Collapse(3)) local probe = torch.zeros(2, 1, 28, 28) "
        "net:add(nn.Linear(net:forward(probe):size(2), 784)) return function(params) return { model = net, "
        "loss = nn.MSECriterion(), labelHook = function(input) return input:view(input:size(1), 784) end } end"
    )
    found = shown(text)
    assert found.is_same, found.notes
    assert python in found.python


def test_a_view_that_does_more_than_flatten_stays_torchs() -> None:
    python = same_python("net:add(nn.View(2, 392)):add(nn.Tanh()):add(nn.View(784)):add(nn.Linear(784, 784))")
    assert "nn.Unflatten(1, (2, 392))" in python
    joined = shown(network("net:add(nn.View(-1, 28)):add(nn.Linear(28, 28)):add(nn.View(-1, 784))"))
    assert joined.is_same, joined.notes
    assert "torch7.View(-1, 28)" in joined.python


# Losses and hooks


@pytest.mark.parametrize(
    ("loss", "python"),
    [
        ("nn.MSECriterion()", "nn.MSELoss()"),
        ("nn.MSECriterion(false)", "nn.MSELoss(reduction='sum')"),
        ("nn.AbsCriterion()", "nn.L1Loss()"),
        (
            "nn.MultiCriterion():add(nn.MSECriterion(), 0.5):add(nn.AbsCriterion())",
            "multi_criterion_1.add(torch7.AbsCriterion(), 1)",
        ),
    ],
)
def test_losses(loss: str, python: str) -> None:
    assert python in same_python("net:add(nn.Linear(784, 784))", loss=loss)


def test_weights_of_classes_set_as_a_field_are_kept() -> None:
    text = "\n".join([
        "return function(params) local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(784, 3))",
        "net:add(nn.LogSoftMax()) local loss = nn.ClassNLLCriterion() loss.weights = torch.Tensor{1, 2, 3}",
        "return { model = net, loss = loss } end",
    ])  # fmt: skip
    found = shown(text)
    assert found.is_same, found.notes
    assert "classnllcriterion_1.weights = torch.tensor([1.0, 2.0, 3.0])" in found.python


@pytest.mark.parametrize("value", ["math.random()", "torch.randn(784):mul(0.01)"])
def test_values_drawn_by_chance_are_no_constants(value: str) -> None:
    method = "copy" if "randn" in value else "fill"
    found = shown(network("net:add(nn.Linear(784, 784))", f"net:get(2).bias:{method}({value})"))
    assert not found.is_same
    assert any("other weights" in note.text for note in found.notes)


def test_a_batch_size_written_into_the_text_is_told() -> None:
    text = network("net:add(nn.View(2, 784)):add(nn.Linear(784, 784))").replace(
        "nn.View(-1):setNumInputDims(3)", "nn.Identity()"
    )
    found = shown(text)
    assert not found.is_same
    assert any("batch of" in note.text for note in found.notes)


def test_a_criterion_in_a_criterion_keeps_its_own() -> None:
    python = same_python(
        "net:add(nn.Linear(784, 784))",
        loss="nn.MultiCriterion():add(nn.MultiCriterion():add(nn.MSECriterion(), 2), 0.5):add(nn.AbsCriterion())",
    )
    assert "multi_criterion_2.add(torch7.MSECriterion(), 2)" in python
    assert "multi_criterion_1.add(multi_criterion_2, 0.5)" in python


def test_a_limit_that_is_infinite() -> None:
    assert 'nn.Hardtanh(0, float("inf"))' in same_python("net:add(nn.Linear(784, 784)):add(nn.Clamp(0, math.huge))")


def test_a_target_of_another_shape_keeps_torchs_criterion() -> None:
    assert "torch7.MSECriterion()" in same_python("net:add(nn.Linear(784, 784))", hook="return input")


HOOKS = {
    "input": "return input",
    "halves": "return input[{{}, {}, {1, 14}}]:contiguous():view(input:size(1), 392)",
    "sums": "local a = input:clone():mul(2) a[{{}, {1}}] = 3 return a - input * 0.5",
    "noise": "local a, b = torch.rand(input:size(1), 3), torch.rand(input:size(1), 3) return a - b",
    "constant": "return torch.Tensor{0.1, 2, 3}:view(1, 3):expand(input:size(1), 3)",
    "maximum": "return input:max(4):view(-1, 28)",
    "table": "return {input, label + 1}",
    "twice the batch": "return torch.zeros(input:size(1) * 2, 3):fill(1)",
}


@pytest.mark.parametrize("name", HOOKS)
@settings(max_examples=5)
@given(count=st.integers(1, 9))
def test_a_hook_gives_the_same_targets_for_batches_of_any_size(name: str, count: int) -> None:
    lua = build_lua_network(network("net:add(nn.Linear(784, 784))", hook=HOOKS[name]), NetworkParams((1, 28, 28)))
    text = hook_text(lua, (1, 28, 28), ())
    python = build_network(
        f"{text}\ndef network(params):\n    return dict(model=nn.Linear(1, 1), label_hook=label_hook)\n",
        NetworkParams((1, 28, 28)),
    )
    images, labels = torch.rand(count, 1, 28, 28), torch.arange(count)
    answers = []
    for hook in (lua.label_hook, python.label_hook):
        torch.manual_seed(3)
        answers.append(torch.utils._pytree.tree_leaves(hook(images.clone(), labels.clone())))
    assert len(answers[0]) == len(answers[1])
    for mine, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(theirs, mine, rtol=0, atol=0)


def test_a_hook_that_looks_at_values_is_told_with_its_line() -> None:
    found = shown(
        network(
            "net:add(nn.Linear(784, 784))",
            hook="local t = torch.zeros(input:size(1), 784)\nfor i = 1, input:size(1) do t[i][label[i] + 1] = 1 end return t",
        )
    )
    assert not found.is_same
    (note,) = found.notes
    assert "looks at the values" in note.text
    assert note.line == 5
    assert "# for i = 1, input:size(1) do t[i][label[i] + 1] = 1 end return t end }" in found.python
    assert "NotImplementedError" in found.python


@pytest.mark.parametrize(
    "hook",
    [
        "return net:get(2).output * 0.5",
        "local m = 0 for _, v in ipairs(label:totable()) do m = math.max(m, v) end "
        "return torch.Tensor(input:size(1), 784):fill(m)",
        "return torch.Tensor(input:size(1), 784):fill(label:sum())",
        "return label:clone():apply(function(v) return v + 1 end):view(-1, 1):expand(input:size(1), 784)",
        "if label[1] == 1 then return input:view(-1, 784) end return input:view(-1, 784) * 0",
        "return net:get(2).weight:narrow(1, 1, input:size(1))",
    ],
)
def test_a_hook_that_depends_on_values_or_layers_is_never_taken_for_the_same(hook: str) -> None:
    found = shown(network("net:add(nn.Linear(784, 784))", hook=hook))
    assert not found.is_same
    assert found.notes


@pytest.mark.parametrize(
    "hook",
    [
        "return torch.zeros(input:size(1), 784):scatter(2, label:long():view(-1, 1), 1)",
        "return torch.eye(784):index(1, label:long())",
    ],
)
def test_a_hook_that_takes_labels_for_places_is_turned(hook: str) -> None:
    same_python("net:add(nn.Linear(784, 784))", hook=hook)


# What cannot be turned


@pytest.mark.parametrize("family", sorted(OWN_CLASSES))
def test_classes_of_ones_own_are_told_with_the_lua_to_write_anew(family: str) -> None:
    text, image_shape, label_shape = FAMILIES[family]
    found = shown(text, Question(image_shape, label_shape))
    assert not found.is_same
    for note in found.notes:
        name = re.match(r"nn\.(\w+) is a class", note.text)
        assert name, note
        assert note.line
        assert "updateOutput" in text.splitlines()[note.line - 1]
        assert f"class {name[1]}(nn.Module):" in found.python
        assert f"# {text.splitlines()[note.line - 1].strip()}" in found.python


def test_a_criterion_of_ones_own_is_told_too() -> None:
    text = "\n".join([
        "local Own = torch.class('nn.Own', 'nn.Criterion')",
        "function Own:updateOutput(input, target)",
        "    self.output = (input - target):pow(2):mean()",
        "    return self.output",
        "end",
        "function Own:updateGradInput(input, target) return (input - target) * (2 / input:nElement()) end",
        network("net:add(nn.Linear(784, 784))", loss="nn.Own()"),
    ])  # fmt: skip
    found = shown(text)
    (note,) = found.notes
    assert "nn.Own is a class of the text's own" in note.text
    assert note.line == 2
    assert '"loss": Own(),' in found.python
    written = re.sub(r"raise NotImplementedError\(.*\)", "return F.mse_loss(output, target)", found.python)
    build_and_check(written, (1, 28, 28), ())


def test_the_python_of_an_own_class_runs_when_its_forward_is_written() -> None:
    text, image_shape, label_shape = FAMILIES["inherited"]
    python = shown(text, Question(image_shape, label_shape)).python
    written = re.sub(r"raise NotImplementedError\(.*Doubled.*\)", "return input[:, :8] * 2", python)
    written = re.sub(r"raise NotImplementedError\(.*\)", "return input", written)
    build_and_check(written, image_shape, label_shape)


@pytest.mark.parametrize("name", ["nn.class", "nn.3D", "nn.network", "nn.nn", "nn.Scale", "nn.print", "nn.+"])
def test_a_class_whose_name_python_uses_otherwise_gets_another(name: str) -> None:
    compile(shown(own_class(name)).python, "network.py", "exec")
    assert re.search(r"^class Own\w*\(nn.Module\):$", shown(own_class(name)).python, re.MULTILINE)


def test_two_classes_of_one_name_in_two_tables_are_two() -> None:
    text = "my = {}\n" + own_class("nn.Foo", "my.Foo")
    python = shown(text).python
    assert "class Foo(nn.Module):" in python
    assert "class Foo2(nn.Module):" in python


@pytest.mark.parametrize("quote", ['"', "'", '"""', "\\"])
def test_the_name_of_a_class_is_no_way_to_write_python(quote: str) -> None:
    name = f"nn.Y{quote}, print({quote}INJECTED{quote}), {quote}"
    text = own_class("nn.Y").replace(
        "local Y", f"local Y = torch.class('nn.Y', 'nn.Module') Y.__typename = [=[{name}]=] local Z"
    )
    text = text.replace("function Y:", "function Y:").replace(
        "'nn.Y', 'nn.Module') function", "'nn.Z', 'nn.Module') function"
    )
    tree = ast.parse(shown(text).python)
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "print" not in called


def own_class(*names: str) -> str:
    """A text with classes of these names, which give their input, before a layer that learns."""
    made = [
        f"local {chr(ord('Y') - place)} = torch.class('{name}', 'nn.Module') "
        f"function {chr(ord('Y') - place)}:updateOutput(input) self.output = input return input end "
        f"function {chr(ord('Y') - place)}:updateGradInput(input, grad) self.gradInput = grad return grad end "
        for place, name in enumerate(names)
    ]
    added = [f"net:add({chr(ord('Y') - place)}())" for place in range(len(names))]
    return "\n".join([*made, network(*added, "net:add(nn.Linear(784, 784))")])


def test_a_number_and_none_are_not_the_same() -> None:
    def doubled(factor: float) -> Network:
        return Network(model=nn.Sequential(nn.Flatten(), nn.Linear(4, 2), Scale(factor)), loss=nn.MSELoss(),
                       label_hook=lambda input, label: torch.zeros(len(input), 2))  # fmt: skip

    def nan() -> Network:
        return doubled(float("nan"))

    assert compare(nan, nan, (1, 2, 2), ()) == []
    for pair in ((nan, lambda: doubled(1)), (lambda: doubled(1), nan)):
        assert any("Outputs" in sentence for sentence in compare(*pair, (1, 2, 2), ()))


def test_fine_tuning_is_told() -> None:
    found = shown(networks.FINE_TUNED)
    assert found.is_same
    assert any("fineTuneHook has been run" in note.text for note in found.notes)


@pytest.mark.parametrize("solver", ["ADADELTA", "ADAM", "NESTEROV", "RMSPROP"])
def test_solvers_that_go_by_another_rule_are_told(solver: str) -> None:
    found = shown(networks.AUTOENCODER, Question((1, 28, 28), (), solver=solver))
    assert found.is_same
    assert any(solver in note.text for note in found.notes)


def test_a_network_that_does_not_work_says_what_visualize_says() -> None:
    with pytest.raises(BadNetwork, match=r"line 7: nn.Linear\(300 -> 50\) got 784 values"):
        shown(networks.AUTOENCODER.replace("nn.Linear(784, 300)", "nn.Identity()"))
