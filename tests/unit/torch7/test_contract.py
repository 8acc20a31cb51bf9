"""What a text in Lua must return, and what people read when it does not."""

import re
import weakref

import pytest
import torch

from jobs.building import build_and_check
from jobs.errors import BadNetwork
from jobs.networks.contract import NetworkParams
from jobs.torch7.contract import build_lua_network
from jobs.torch7.criteria import ClassNLLCriterion
from tests.unit.torch7 import networks

PARAMS = NetworkParams((1, 28, 28))
MODEL = "nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(784, 10)):add(nn.LogSoftMax())"


def returning(fields: str) -> str:
    return f"return function(params)\n    return {{ {fields} }}\nend"


def fault_of(text: str) -> BadNetwork:
    with pytest.raises(BadNetwork) as caught:
        build_lua_network(text, PARAMS)
    return caught.value


def test_defaults_are_digitss() -> None:
    network = build_lua_network(returning(f"model = {MODEL}"), PARAMS)
    assert (network.train_batch_size, network.validation_batch_size, network.crop_size) == (16, 16, None)
    assert isinstance(network.loss, ClassNLLCriterion)
    labels = torch.tensor([3, 4])
    assert network.label_hook(torch.zeros(2, 1, 28, 28), labels).tolist() == [3.0, 4.0]


def test_all_fields_are_read() -> None:
    fields = f"model = {MODEL}, loss = nn.MSECriterion(), croplen = 20, trainBatchSize = 8, validationBatchSize = 4, other = 1"
    network = build_lua_network(returning(fields), PARAMS)
    assert (network.train_batch_size, network.validation_batch_size, network.crop_size) == (8, 4, 20)
    assert type(network.loss).__name__ == "MSECriterion"


def test_what_the_function_gets() -> None:
    text = f"""
    return function(params)
        local sides = {{}}
        params.inputShape:apply(function(side) sides[#sides + 1] = side end)
        print(params.ngpus, params.nclasses, #sides, params.inputShape[2])
        assert(params.ngpus == 1 and params.nclasses == 7 and sides[1] == 3 and sides[3] == 5)
        return {{ model = {MODEL} }}
    end
    """
    build_lua_network(text, NetworkParams((3, 4, 5), n_classes=7, n_gpus=1))


def test_what_is_not_known_is_nil() -> None:
    build_lua_network(f"return function(p) assert(p.nclasses == nil) return {{ model = {MODEL} }} end", PARAMS)


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("local net = nn.Sequential()\nnet:add(nn.Foo(3))\nreturn net", 2, "line 2: attempt to call field 'Foo' (a nil value)"),
        ("local net = nn.Sequential(", 1, "line 1: unexpected symbol near '<eof>'"),
        ("return 3", None, "The text must return a function, and it returns 3."),
        ("local x = 1", None, "The text must return a function, and it returns nil."),
        ("return function(p) end", None, "The function must return a table, and it returns nil"),
        ("return function(p)\n return { model = 3 }\nend", None, "its field `model` is 3"),
        ("return function(p)\n return { loss = nn.MSECriterion() }\nend", None, "its field `model` is nil"),
        ("return function(p)\n error('only squares')\nend", 2, "line 2: only squares"),
        ("return function(p)\n assert(p.inputShape[1] == 3, 'three channels')\nend", 2, "line 2: three channels"),
        ("return function(p)\n local t = nil\n t.x = 1\nend", 3, "line 3: attempt to index local 't' (a nil value)"),
        ("return function(p)\n return missing(3)\nend", 2, "line 2: attempt to call global 'missing' (a nil value)"),
        ("\n\nrequire 'hdf5'", 3, "line 3: module 'hdf5' not found"),
        ("local x = nn.LSTM(3, 4)", 1, "line 1: nn.LSTM is not here: it is recurrent, and the package rnn"),
        ("local x = nn.SparseLinear(3, 4)", 1, "a network here gets images; nn.Linear does the same with all values"),
        ("local x = nn.Inception({})", 1, "line 1: nn.Inception is not supported yet; the nearest that is: nn."),
        ("local x = nn.Linear(3)", 1, "line 1: nn.Linear"),
        ("local x = nn.Linear(width, 3)", 1, "line 1: nn.Linear got nil for inputSize; it takes a whole number"),
        ("local x = nn.Linear(2000000, 2000000)", 1, "line 1: nn.Linear"),
        ("return function(p)\n return nn.Linear(784, p.nclasses)\nend", 2, "nclasses is nil for a dataset without classes"),
        ("local x = torch.cat(torch.zeros(3, 4), torch.zeros(2, 5), 1)", 1, "except in dimension 1. Expected size 4 but got"),
        ("local x = torch.zeros(3, 4):gather(1, torch.LongTensor({{5, 1, 1, 1}}))", 1, "index 5 is out of bounds for dim"),
        ("local x = torch.zeros(3, 4):index(1, torch.LongTensor({4}))", 1, "an index is larger than the dimension that it is"),
        ("local x = nn.Sequential():add(3)", 1, "line 1: nn.Sequential:add expects a module, got number"),
        ("local x = nn.Sequential():get(1)", 1, "line 1: get(1): there are 0 modules"),
        ("local x = torch.Tensor(3)\nprint(x[4])", 2, "line 2: index 4 is out of range: there are 3"),
        ("local x = torch.zeros(100000, 100000)", 1, "line 1: a tensor of 100000×100000 is too large"),
        ("local function layer()\n return nn.Linear(3)\nend\nlocal x = layer()", 2, "line 2: nn.Linear got nil"),
        ("local t = {}\nfunction t.f(x)\n return torch.zeros(2):view(x)\nend\nt.f(3)", 3, "line 3: "),
        ("return function(p)\n return nn.Sequential():add(3)\nend", 2, "line 2: nn.Sequential:add expects a module"),
        ("local x = nn.Linaer(3, 4)", 1, "line 1: attempt to call field 'Linaer' (a nil value); is nn.Linear meant?"),
        ("local x = nn.Relu()", 1, "is nn.ReLU meant?"),
        ("local x = torch.rnadn(3)", 1, "is torch.randn meant?"),
        ("local x = nn.View(-1):setNumInputDim(3)", 1, "is :setNumInputDims meant?"),
        ("local x = torch.zeros(2):narrow(1)", 1, "line 1: narrow: missing 2 required positional arguments"),
        ("error({})", 1, "line 1: error was called with a table in which there is no sentence"),
        ("error({message = 'too small', code = 3})", 1, "line 1: too small"),
        ("error(setmetatable({}, {__tostring = function() return 'by hand' end}))", 1, "line 1: by hand"),
        ("error(print)", 1, "line 1: error was called with a function in place of a sentence"),
        ("error()", 1, "line 1: error was called with nothing in place of a sentence"),
        ("local t = torch.zeros(2)\nt.fill(1)", 2, "fill is a tensor's method: call it with `:`, as in tensor:fill(...)"),
        ("nn.Linear(1, 1).reset()", 1, "reset is a method of nn.Linear: call it with `:`"),
        ("local net = nn.Sequential()\nnet.add(nn.ReLU())", 2, "line 2: add is a method of containers: call it with `:`"),
        ("local net = nn.Sequential()\nnet:add(nn.ReLU)", 2, "got the class nn.ReLU; make one of it: nn.ReLU(...)"),
        ("local net = nn.Sequential()\nnet:add(nil)", 2, "line 2: nn.Sequential:add expects a module, got nil"),
        ("return function(p)\n return { model = nn.Sequential }\nend", None, "`model` is the class nn.Sequential; make one"),
        ("local x = torch.zeros(2):nonsense()", 1, "line 1: attempt to call method 'nonsense' (a nil value)"),
    ],
)  # fmt: skip
def test_faults_speak_of_the_line_of_the_text(text: str, line: int | None, sentence: str) -> None:
    fault = fault_of(text)
    assert sentence in str(fault)
    assert fault.line == line


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            "loss = nn.Linear(2, 2)",
            "`loss` is nn.Linear(2 -> 2), a layer; it must be a criterion such as nn.MSECriterion().",
        ),
        ("loss = nn.MSECriterion", "`loss` is the class nn.MSECriterion; make one of it: nn.MSECriterion(…)."),
        ("loss = {}", "`loss` is a table; it must be a criterion such as nn.MSECriterion()."),
        ("loss = 'MSE'", "`loss` is 'MSE'; it must be a criterion"),
        ("trainBatchSize = 0", "`trainBatchSize` is 0; it must be a whole number, 1 or more."),
        ("trainBatchSize = 1.5", "`trainBatchSize` is 1.5; it must be a whole number"),
        ("croplen = '20'", "`croplen` is '20'; it must be a whole number"),
        ("labelHook = 3", "`labelHook` is 3; it must be a function(input, dblabel)"),
        ("fineTuneHook = 3", "`fineTuneHook` is 3; it must be a function"),
        (
            "labelhook = function(input) return input end",
            "a field `labelhook`, which nobody reads; is `labelHook` meant?",
        ),
        ("fineTuneHook = function() end", "A model is an object of nn, and this is nil."),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(fields: str, sentence: str) -> None:
    assert sentence in str(fault_of(returning(f"model = {MODEL}, {fields}")))


def test_a_layer_that_does_not_fit_is_named_as_torch_prints_it() -> None:
    text = "return function(params)\n local net = nn.Sequential()\n net:add(nn.View(-1):setNumInputDims(3))\n\n" \
           " net:add(nn.Linear(300, 50))\n return { model = net, loss = nn.MSECriterion() }\nend"  # fmt: skip
    with pytest.raises(BadNetwork) as caught:
        build_and_check(text, (1, 28, 28), (), framework="torch")
    assert str(caught.value).startswith("line 5: nn.Linear(300 -> 50) got 784 values")
    assert (caught.value.line, caught.value.layer) == (5, "nn.Linear(300 -> 50)")


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("nn.View(1, 28, 29)", "line 3: nn.View(1, 28, 29) got 784 values an image; 1×28×29 are 812."),
        ("nn.View(-1, 300)", "line 3: nn.View(-1, 300) got 784 values an image, which is no multiple of 300."),
        (
            "nn.VolumetricConvolution(1, 2, 3, 3, 3)",
            "got images of shape 784, it takes channels × time × height × width.",
        ),
    ],
)
def test_a_layer_that_does_not_fit_speaks_of_its_own_sides(layer: str, sentence: str) -> None:
    text = "return function(params)\n local net = nn.Sequential():add(nn.View(-1):setNumInputDims(3))\n" \
           f" net:add({layer})\n net:add(nn.Linear(2, 2))\n return {{ model = net }}\nend"  # fmt: skip
    with pytest.raises(BadNetwork) as caught:
        build_and_check(text, (1, 28, 28), (), framework="torch")
    assert sentence in str(caught.value)


def test_tail_calls_return_what_they_call() -> None:
    build_lua_network(
        "local function three(...) return ... end\nlocal function pass(...) return three(...) end\n"
        "local function method(t, ...) return t:all(...) end\n"
        "local a, b, c = pass(1, 2, 3)\nassert(a == 1 and c == 3 and select('#', pass()) == 0)\n"
        "assert(select('#', method({all = function(t, ...) return ... end}, 5, nil)) == 2)\n"
        f"local list = {{ {', '.join(str(number) for number in range(700))} }}\nassert(#list == 700 and list[700] == 699)\n"
        f"return function() return {{ model = {MODEL} }} end",
        PARAMS,
    )


def test_a_hook_that_fails_in_training_speaks_of_its_line() -> None:
    text = returning(f"model = {MODEL},\n labelHook = function(input, label)\n return label:foo() end")
    with pytest.raises(BadNetwork, match=re.escape("line 4: attempt to call method 'foo' (a nil value)")):
        build_and_check(text, (1, 28, 28), (), framework="torch")


def test_visualize_prints_the_network_as_torch_does() -> None:
    _network, report = build_and_check(networks.AUTOENCODER, (1, 28, 28), (), framework="torch")
    assert report.printed is not None
    lines = report.printed.splitlines()
    assert lines[0] == "nn.Sequential {"
    assert lines[1] == "  [input -> (1) -> (2) -> (3) -> (4) -> (5) -> (6) -> (7) -> (8) -> (9) -> (10) -> output]"
    assert lines[4] == "  (3): nn.Linear(784 -> 300)"
    assert lines[-1] == "}"
    assert [layer.name for layer in report.layers][2:4] == ["nn.Linear(784 -> 300)", "nn.ReLU"]
    assert report.code_layer is not None
    assert report.layers[report.code_layer].name == "nn.Linear(300 -> 50)"


def test_labels_of_a_dataset_come_to_the_hook_as_floats() -> None:
    text = f"return function(p)\n return {{ model = {MODEL}, labelHook = function(input, label)\n" \
           " assert(label:type() == 'torch.FloatTensor') return label + 1 end }\nend"  # fmt: skip
    network = build_lua_network(text, PARAMS)
    assert network.label_hook(torch.zeros(2, 1), torch.tensor([0, 4])).tolist() == [1.0, 5.0]


def test_what_a_text_prints_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    build_lua_network(f"print('size', 3, nil, true)\nreturn function() return {{ model = {MODEL} }} end", PARAMS)
    assert capsys.readouterr().out == "size\t3\tnil\ttrue\n"


def test_a_hook_that_is_called_for_ever_keeps_no_tensors() -> None:
    network = build_lua_network(networks.AUTOENCODER, PARAMS)
    seen = []
    for _ in range(40):
        images = torch.zeros(1000, 1000)
        seen.append(weakref.ref(images))
        network.label_hook(images, torch.zeros(1))
        del images
    assert sum(reference() is not None for reference in seen) <= 20


def test_a_name_with_other_letters_is_told_with_its_line() -> None:
    with pytest.raises(BadNetwork, match=r"^line 2: unexpected symbol near .*names in Lua are of the letters") as fault:
        build_lua_network("-- größe\nlocal größe = 50\nreturn function() end", NetworkParams((1, 28, 28)))
    assert fault.value.line == 2
