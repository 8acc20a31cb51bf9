"""Tensors in Lua: places from 1 on, methods in place, functions that make new tensors, reductions that keep a dimension."""

from typing import Any

import pytest
import torch

from jobs.errors import BadNetwork
from jobs.torch7.runtime import Runtime

# An expression of Lua over t = 1, 2, 3 / 4, 5, 6 and v = 1, 2, 3, and its value as nested lists.
VALUES: dict[str, Any] = {
    "torch.Tensor():addmm(0, torch.ones(2, 2), 1, t, t:t())": [[14, 32], [32, 77]],
    "torch.ones(2, 2):addmm(2, torch.ones(2, 2), 1, t, t:t())": [[16, 34], [34, 79]],
    "torch.ones(2, 2):addmm(2, t, t:t())": [[29, 65], [65, 155]],
    "torch.Tensor():mul(t, 2)": [[2, 4, 6], [8, 10, 12]],
    "torch.Tensor():sqrt(torch.Tensor{4, 9})": [2, 3],
    "torch.Tensor():mm(t, t:t())": [[14, 32], [32, 77]],
    "torch.mul(torch.Tensor(), v, 3)": [3, 6, 9],
    "torch.add(torch.Tensor(), v, v)": [2, 4, 6],
    "torch.Tensor(2):fill(1e20):gt(1e19)": [1, 1],
    "t:size():totable()": [2, 3],
    "t:size():size()": 2,
    "tostring(t:size())": " 2\n 3\n[torch.LongStorage of size 2]",
    "torch.zeros(torch.LongStorage{1, 2})": [[0, 0]],
    "torch.zeros(t:size())": [[0, 0, 0], [0, 0, 0]],
    "torch.LongStorage(2):fill(4)": [4, 4],
    "t:size(1)": 2,
    "t:size()": [2, 3],
    "#t": [2, 3],
    "t:dim()": 2,
    "t:nElement()": 6,
    "t:stride(1)": 3,
    "t:type()": "torch.FloatTensor",
    "t[1][2]": 2,
    "t[2]": [4, 5, 6],
    "t[{2, 3}]": 6,
    "t[{{}, 1}]": [1, 4],
    "t[{{1, 2}, {2, 3}}]": [[2, 3], [5, 6]],
    "t[-1]": [4, 5, 6],
    "t[{{2}}]": [[4, 5, 6]],
    "v[-1]": 3,
    "v[v:gt(1)]": [2, 3],
    "t:select(2, 3)": [3, 6],
    "t:narrow(2, 2, 2)": [[2, 3], [5, 6]],
    "t:sub(1, 1)": [[1, 2, 3]],
    "t:sub(1, 2, -1, -1)": [[3], [6]],
    "t:t()": [[1, 4], [2, 5], [3, 6]],
    "t:transpose(1, 2):size()": [3, 2],
    "t:view(3, 2)": [[1, 2], [3, 4], [5, 6]],
    "t:view(-1):size()": [6],
    "t:index(2, torch.LongTensor{3, 1})": [[3, 1], [6, 4]],
    "t:index(1, {2})": [[4, 5, 6]],
    "v:repeatTensor(2, 1)": [[1, 2, 3], [1, 2, 3]],
    "v:view(1, 3):expand(2, 3)": [[1, 2, 3], [1, 2, 3]],
    "v:view(1, 3):squeeze()": [1, 2, 3],
    "t:split(1, 1)[2]": [[4, 5, 6]],
    "#v:chunk(3)": 3,
    "torch.zeros(2)": [0, 0],
    "torch.ones(1, 2)": [[1, 1]],
    "torch.range(1, 3)": [1, 2, 3],
    "torch.range(1, 2, 0.5)": [1, 1.5, 2],
    "torch.eye(2)": [[1, 0], [0, 1]],
    "torch.Tensor{{1}, {2}}": [[1], [2]],
    "torch.Tensor(2, 3):size()": [2, 3],
    "torch.Tensor():dim()": 0,
    "torch.linspace(0, 1, 3)": [0, 0.5, 1],
    "torch.range(1, 3):totable()": [1, 2, 3],
    "torch.randn(2, 2):size()": [2, 2],
    "torch.randperm(5):max()": 5,
    "torch.LongTensor{7}[1]": 7,
    "v:clone():add(1)": [2, 3, 4],
    "v:clone():add(2, v)": [3, 6, 9],
    "v:clone():mul(2):div(4)": [0.5, 1, 1.5],
    "v:clone():cmul(v)": [1, 4, 9],
    "v:clone():cdiv(v)": [1, 1, 1],
    "v:clone():pow(2)": [1, 4, 9],
    "v:clone():fill(7)": [7, 7, 7],
    "v:clone():zero()": [0, 0, 0],
    "torch.add(v, 1)": [2, 3, 4],
    "torch.add(v, 2, v)": [3, 6, 9],
    "torch.csub(v, v)": [0, 0, 0],
    "torch.cmul(v, v)": [1, 4, 9],
    "torch.pow(v, 2)": [1, 4, 9],
    "v + 1": [2, 3, 4],
    "v + v": [2, 4, 6],
    "2 * v": [2, 4, 6],
    "v / 2": [0.5, 1, 1.5],
    "-v": [-1, -2, -3],
    "v - v": [0, 0, 0],
    "v * v": 14,
    "t * v": [14, 32],
    "torch.mm(t, t:t())": [[14, 32], [32, 77]],
    "torch.mv(t, v)": [14, 32],
    "torch.zeros(2, 2):addmm(t, t:t())": [[14, 32], [32, 77]],
    "torch.ones(2):addmv(0.5, 2, t, v)": [28.5, 64.5],
    "torch.dot(v, v)": 14,
    "v:dot(v)": 14,
    "t:sum()": 21,
    "t:sum(1)": [[5, 7, 9]],
    "t:mean(2)": [[2], [5]],
    "t:max()": 6,
    "(t:max(2))": [[3], [6]],
    "select(2, t:max(2))": [[3], [3]],
    "select(2, v:sort(true))": [3, 2, 1],
    "(v:topk(1, true))": [1],
    "v:norm()": pytest.approx(14**0.5),
    "v:std()": 1,
    "v:prod()": 6,
    "t:cumsum(2)": [[1, 3, 6], [4, 9, 15]],
    "v:eq(2)": [0, 1, 0],
    "torch.eq(v, 2)": [0, 1, 0],
    "v:gt(1):sum()": 2,
    "v:ge(v)": [1, 1, 1],
    "torch.eq(v, 2):type()": "torch.ByteTensor",
    "torch.cat(v, v)": [1, 2, 3, 1, 2, 3],
    "torch.cat({t, t}, 1):size()": [4, 3],
    "torch.cat(t, t, 2):size()": [2, 6],
    "v:clone():copy(torch.ones(3, 1))": [1, 1, 1],
    "v:clone():apply(function(x) return x * 2 end)": [2, 4, 6],
    "v:clone():apply(function() end)": [1, 2, 3],
    "v:clone():clamp(2, 3)": [2, 2, 3],
    "torch.sqrt(torch.Tensor{4})": [2],
    "v:clone():maskedFill(v:gt(2), 0)": [1, 2, 0],
    "v:isSameSizeAs(v)": True,
    "torch.isTensor(v)": True,
    "torch.type(v)": "torch.FloatTensor",
    "torch.type({})": "table",
    "torch.typename(3)": None,
    "v:nDimension()": 1,
    "v:gather(1, torch.LongTensor{3, 1})": [3, 1],
    "torch.zeros(3):scatter(1, torch.LongTensor{2}, 5)": [0, 5, 0],
    "torch.diag(torch.ones(2))": [[1, 0], [0, 1]],
    "torch.LongTensor{1, 2}:typeAs(v):type()": "torch.FloatTensor",
    "v.new(2, 3):zero():size()": [2, 3],
    "v.new():resizeAs(t):size()": [2, 3],
    "v.new{7, 8}": [7, 8],
    "v:new(2):size()": [2],
    "v.new(t:size()):size()": [2, 3],
    "torch.LongTensor{1}.new(1):type()": "torch.LongTensor",
    "t:storage():size()": 6,
    "#t:storage()": 6,
    "t:storage()[4]": 4,
    "t:select(2, 1):storage():totable()": [1, 2, 3, 4, 5, 6],
    "torch.FloatStorage{1, 2}:size()": 2,
    "torch.Tensor(torch.FloatStorage{1, 2})": [1, 2],
    "torch.Tensor(t:size()):size()": [2, 3],
    "torch.ByteTensor(torch.LongStorage{1, 4}):size()": [1, 4],
    "torch.FloatStorage(3):fill(2):totable()": [2, 2, 2],
    "torch.Tensor{{3, 4}, {0, 1}}:renorm(2, 1, 1)": [[pytest.approx(0.6), pytest.approx(0.8)], [0, 1]],
    "torch.renorm(torch.Tensor{{3, 4}, {0, 1}}, 1, 1, 7)": [[3, 4], [0, 1]],
    "torch.view(t, 3, 2)": [[1, 2], [3, 4], [5, 6]],
    "torch.view(torch.Tensor(), t, 6)": [1, 2, 3, 4, 5, 6],
    "torch.multinomial(torch.Tensor{0, 1, 0}, 4, true)": [2, 2, 2, 2],
    "torch.multinomial(torch.LongTensor(), torch.Tensor{{0, 1}, {1, 0}}, 1)": [[2], [1]],
    "torch.Tensor{0, 0, 5}:multinomial(1)": [3],
    "torch.conv2(torch.range(1, 9):view(3, 3), torch.Tensor{{1, 0}, {0, 0}})": [[5, 6], [8, 9]],
    "torch.xcorr2(torch.range(1, 9):view(3, 3), torch.Tensor{{1, 0}, {0, 0}})": [[1, 2], [4, 5]],
    "torch.conv2(torch.ones(2, 2), torch.Tensor{{1, 2}}, 'F')": [[1, 3, 2], [1, 3, 2]],
    "torch.conv2(torch.ones(2, 2, 2), torch.Tensor{{{1}}, {{2}}})": [[[1, 1], [1, 1]], [[2, 2], [2, 2]]],
    "torch.xcorr2(torch.ones(2, 2, 2), torch.ones(3, 2, 2, 2))": [[[8]], [[8]], [[8]]],
    "torch.sum(torch.Tensor(), t, 1)": [[5, 7, 9]],
    "torch.mean(torch.Tensor(), t, 2)": [[2], [5]],
    "torch.cat(torch.Tensor(), v, v)": [1, 2, 3, 1, 2, 3],
    "torch.cat(torch.Tensor(), {t, t}, 1):size()": [4, 3],
    "torch.cat(torch.Tensor(), t, t, 2):size()": [2, 6],
    "torch.zeros(torch.Tensor(), 1, 2)": [[0, 0]],
    "torch.Timer():time().real < 100": True,
    "torch.Timer():stop():reset():time().user >= 0": True,
    "nn.utils.addSingletonDimension(v, 2)": [[1], [2], [3]],
    "nn.utils.addSingletonDimension(torch.Tensor(), t):size()": [1, 2, 3],
    "nn.utils.recursiveType({v, {t}}, 'torch.LongTensor')[2][1]:type()": "torch.LongTensor",
    "(nn.utils.recursiveCopy(nil, {v, {t}}))[2][1]:size()": [2, 3],
    "(nn.utils.recursiveAdd({v:clone()}, 2, {v}))[1]": [3, 6, 9],
    "nn.utils.recursiveFill({v:clone()}, 4)[1]": [4, 4, 4],
    "(nn.utils.recursiveResizeAs(torch.Tensor(), t)):size()": [2, 3],
    "nn.utils.contiguousView(t:t(), 6)": [1, 4, 2, 5, 3, 6],
}

SETUP = "local t = torch.Tensor{{1, 2, 3}, {4, 5, 6}}\nlocal v = torch.Tensor{1, 2, 3}\n"


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime()


def value_of(runtime: Runtime, text: str) -> Any:
    found = runtime.to_python(runtime.run(SETUP + text))
    return found.tolist() if hasattr(found, "tolist") else found


@pytest.mark.parametrize("expression", VALUES)
def test_an_expression_of_tensors(runtime: Runtime, expression: str) -> None:
    assert value_of(runtime, f"return ({expression})") == VALUES[expression]


@pytest.mark.parametrize(
    ("statement", "then"),
    [
        ("t[1][2] = 9", [[1, 9, 3], [4, 5, 6]]),
        ("t[2] = 0", [[1, 2, 3], [0, 0, 0]]),
        ("t[{{}, 1}] = 7", [[7, 2, 3], [7, 5, 6]]),
        ("t[{{}, {2, 3}}] = torch.zeros(2, 2)", [[1, 0, 0], [4, 0, 0]]),
        ("t[t:gt(3)] = 0", [[1, 2, 3], [0, 0, 0]]),
        ("t[t:gt(4)] = torch.Tensor{8, 9}", [[1, 2, 3], [4, 8, 9]]),
        ("t:select(1, 1):fill(5)", [[5, 5, 5], [4, 5, 6]]),
        ("t:t()[1]:mul(2)", [[2, 2, 3], [8, 5, 6]]),
        ("t:resize(1, 6)", [[1, 2, 3, 4, 5, 6]]),
        ("t:resizeAs(torch.Tensor(3, 2))", [[1, 2], [3, 4], [5, 6]]),
        ("t:add(-1, t:clone())", [[0, 0, 0], [0, 0, 0]]),
        ("t:sqrt():pow(2):round()", [[1, 2, 3], [4, 5, 6]]),
        ("t:mm(torch.eye(2), t:clone())", [[1, 2, 3], [4, 5, 6]]),
        ("t:map(t:clone(), function(a, b) return a + b end)", [[2, 4, 6], [8, 10, 12]]),
        ("t:map2(t:clone(), t:clone(), function(a, b, c) return a * b - c end)", [[0, 2, 6], [12, 20, 30]]),
        ("t:indexCopy(2, torch.LongTensor{3, 1}, torch.zeros(2, 2))", [[0, 2, 0], [0, 5, 0]]),
        ("t:indexAdd(1, torch.LongTensor{2}, torch.ones(1, 3))", [[1, 2, 3], [5, 6, 7]]),
        ("t:indexFill(2, torch.LongTensor{1}, 9)", [[9, 2, 3], [9, 5, 6]]),
        ("t:storage()[2] = 8", [[1, 8, 3], [4, 5, 6]]),
        ("t:storage():fill(1)", [[1, 1, 1], [1, 1, 1]]),
        ("t:storage():copy(torch.FloatStorage{6, 5, 4, 3, 2, 1})", [[6, 5, 4], [3, 2, 1]]),
        ("torch.max(t, torch.LongTensor(), torch.Tensor{{1, 2}, {4, 3}}, 2)", [[2], [4]]),
        ("torch.sum(t, t:clone(), 2)", [[6], [15]]),
        ("t:uniform(2, 2)", [[2, 2, 2], [2, 2, 2]]),
        ("t:normal(3, 0):bernoulli(1)", [[1, 1, 1], [1, 1, 1]]),
    ],
)
def test_a_statement_changes_the_tensor_itself(runtime: Runtime, statement: str, then: list[list[float]]) -> None:
    assert value_of(runtime, f"{statement}\nreturn t") == then


@pytest.mark.parametrize("statement", ["local x = t[3]", "local x = t[0]", "t[{1, 4}] = 1", "local x = v:select(2, 1)"])
def test_places_that_are_not_there_are_refused(runtime: Runtime, statement: str) -> None:
    with pytest.raises(BadNetwork, match=r"line 3: .*out of range"):
        runtime.run(SETUP + statement)


def test_tensors_of_other_sizes_do_not_meet(runtime: Runtime) -> None:
    with pytest.raises(BadNetwork, match=r"line 3: inconsistent tensor size: 3 values and 6"):
        runtime.run(f"{SETUP}v:add(t)")


def test_a_tensor_is_printed_with_its_type_and_size(runtime: Runtime) -> None:
    assert value_of(runtime, "return tostring(t)").endswith("[torch.FloatTensor of size 2x3]")
    assert value_of(runtime, "return tostring(torch.zeros(2000))") == "[torch.FloatTensor of size 2000]"


def test_random_numbers_are_those_of_the_seed(runtime: Runtime) -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(4)
        found.append(
            value_of(
                runtime, "return {math.random(), math.random(10), torch.uniform(), torch.normal(), torch.random(1, 9)}"
            )
        )
    assert found[0] == found[1]
    assert 1 <= found[0][1] <= 10


def test_places_for_results_come_first(runtime: Runtime) -> None:
    text = """
    local values, places = torch.Tensor(), torch.LongTensor()
    local a, b = torch.max(values, places, t, 2)
    assert(a[1][1] == 3 and values[2][1] == 6 and places[1][1] == 3 and b[2][1] == 3 and places:type() == 'torch.LongTensor')
    """
    runtime.run(SETUP + text)


def test_what_people_wrote_at_the_top_of_their_files(runtime: Runtime) -> None:
    runtime.run(
        """
        require 'torch'
        require 'xlua'
        require 'paths'
        require 'image'
        local sys = require 'sys'
        sys.tic()
        assert(paths.concat('models', 'net.t7') == 'models/net.t7' and paths.concat('a/', '/b', 'c') == '/b/c')
        assert(paths.basename('a/net.lua') == 'net.lua' and paths.basename('a/net.lua', 'lua') == 'net')
        assert(paths.dirname('a/b/net.lua') == 'a/b' and paths.extname('net.lua') == 'lua')
        assert(not paths.filep('a.t7'))
        for i = 1, 3 do xlua.progress(i, 3) end
        assert(sys.toc() >= 0 and sys.clock() >= 0 and #sys.COLORS.red == 0)
        """
    )


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("image.scale(t, 32, 32)", "line 3: image.scale is not possible here: networks here get their images ready"),
        ("paths.mkdir('x')", "line 3: paths.mkdir is not possible here: networks here have no files"),
        ("sys.execute('ls')", "line 3: sys.execute is not possible here: networks here run no programs"),
        ("optim.sgd()", "line 3: optim.sgd is not possible here: the training has its solver from the form"),
        ("torch.conv2(v, v)", "line 3: torch.conv2 takes a picture and a kernel"),
        ("nn.utils.addSingletonDimension(v, 4)", "line 3: nn.utils.addSingletonDimension: dimension 4 is out of range"),
    ],
)
def test_what_cannot_be_here_is_a_sentence(runtime: Runtime, call: str, sentence: str) -> None:
    with pytest.raises(BadNetwork) as caught:
        runtime.run(SETUP + call)
    assert sentence in str(caught.value)
