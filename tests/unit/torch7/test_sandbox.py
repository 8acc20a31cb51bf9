"""Ways out of Lua that a text may try. Each must end in a sentence, or find nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.errors import BadNetwork
from jobs.networks.contract import NetworkParams
from jobs.torch7.contract import build_lua_network
from jobs.torch7.runtime import Runtime

MODEL = "nn.Sequential():add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(784, 10)):add(nn.LogSoftMax())"

# Expressions that must be nil: there is no such thing.
NOTHING = [
    "io", "os.execute", "os.exit", "os.remove", "os.rename", "os.tmpname", "os.getenv", "os.setlocale", "debug", "ffi", "jit",
    "python", "load", "loadstring", "loadfile", "dofile", "getfenv", "setfenv", "module", "newproxy", "coroutine", "gcinfo",
    "string.dump", "package.loadlib", "package.loaders[1]", "package.loaded.io", "package.loaded.os", "package.loaded.debug",
    "package.loaded.package", "package.loaded._G", "_G.python", "_G._G.io", "nn.python", "torch.python", "cudnn",
    "nn.Linear(1, 1).held", "nn.Linear(1, 1).__class__", "nn.Linear(1, 1).__init__",
    "getmetatable('')", "getmetatable(print)", "getmetatable(torch.Tensor(1))", "debug and debug.getregistry()",
    "torch.pushudata",
]  # fmt: skip

# Texts that must fail, and what their sentence says.
REFUSED = {
    "bytecode": ("\x1bLua compiled", "compiled Lua"),
    "require io": ("require 'io'", "module 'io' not found"),
    "require ffi": ("require 'ffi'", "module 'ffi' not found"),
    "require a path": ("require '/etc/passwd'", "not found"),
    "require python": ("require 'python'", "module 'python' not found"),
    "a loader of one's own": ("package.preload.x = function() return io.open end\nrequire 'x'", "not found"),
    "a finalizer": ("setmetatable({}, {__gc = function() end})", "__gc is not possible"),
    "a long string": ("local s = string.rep('x', 1e9)", "too long"),
    "strings of strings": ("local s = 'xxxxxxxxxx' while true do s = s .. s end", "memory"),
    "tables without end": ("local t = {} while true do t[#t + 1] = {1, 2, 3} end", "memory"),
    "a format with a width": ("local s = string.format('%99999d', 1)", "invalid format"),
    "a pattern that tries for ever": (
        "local s = string.rep('a', 5000)\nreturn s:find('.-.-.-.-.-.-b')", "this pattern could take for ever"),
    "a pattern through the library": (
        "return string.gsub(string.rep('a', 5000), 'a*a*a*a*b', '')", "this pattern could take for ever"),
    "recursion": ("local function f() return 1 + f() end\nf()", "stack overflow"),
    "unpack of millions": ("return unpack({}, 1, 1e8)", "too many results"),
    "a tensor of everything": ("torch.zeros(1e6, 1e6)", "too large"),
    "a tensor of negative sizes": ("torch.zeros(-1e6, -1e6)", "too large"),
    "a module of everything": ("nn.Linear(1e9, 1e9)", "nn.Linear"),
    "a repeated tensor": ("torch.zeros(10):repeatTensor(1e9)", "too large"),
    "the metatable of strings": ("getmetatable('').__index.rep = nil", "attempt to index"),
    "a file of Torch's": ("torch.load('/etc/passwd')", "torch.load is not possible here: networks have no files; weights"),
    "writing a file": ("torch.save('/tmp/x', {})", "torch.save is not possible here"),
    "an open file": ("torch.DiskFile('/etc/passwd')", "torch.DiskFile is not possible here"),
    "Lua's files": ("io.open('/etc/passwd')", "global 'io' (a nil value); networks here have no files"),
    "a program": ("os.execute('ls')", "field 'execute' (a nil value); networks here have no files, and start no programs"),
    "another text": ("dofile('other.lua')", "networks here run no other code than their text"),
    "the way to Python": ("nn.Linear(1, 1):held()", "attempt to call method 'held'"),
}  # fmt: skip


@pytest.mark.parametrize("expression", NOTHING)
def test_there_is_nothing_to_hold_on_to(expression: str) -> None:
    build_lua_network(
        f"local found = {expression}\nassert(not found, type(found))\nreturn function() return {{ model = {MODEL} }} end"
        if not expression.startswith("package.loaders")
        else f"assert(package.loaders == nil)\nreturn function() return {{ model = {MODEL} }} end",
        NetworkParams((1, 28, 28)),
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_way_out_ends_in_a_sentence(name: str) -> None:
    text, sentence = REFUSED[name]
    with pytest.raises(BadNetwork) as caught:
        build_lua_network(text, NetworkParams((1, 28, 28)))
    assert sentence in str(caught.value)


def test_tensors_without_end_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.torch7.values.MOST_TENSOR_BYTES", 2**28)
    with pytest.raises(BadNetwork, match=r"line 1: the tensors in Lua take more than"):
        Runtime().run("local t = {} while true do t[#t + 1] = torch.Tensor(1000, 1000):fill(1) end")
    Runtime().run("for i = 1, 500 do local t = torch.Tensor(1000, 1000):fill(1) end")


@pytest.mark.parametrize(
    "text",
    [
        "return setmetatable({}, {__index = function() while true do end end})",
        "local m = nn.Sequential()\ngetmetatable(m).__index = function() while true do end end\nreturn {model = m}",
        "local X = torch.class('nn.X', 'nn.Module')\nfunction X:__tostring__() return 'x' end\nprint(nn.X())while true do end",
        "local s = string.rep('(', 300000)\nwhile true do s:find('%b()') end",
        "string.rep('a', 9e6):find(string.rep('a', 4e6) .. 'b', 1, true)",
        "local s = nn.Sequential()\ns:add(s)\nreturn {model = s}",
    ],
)
def test_what_python_asks_of_lua_ends_too(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.torch7.contract.SECONDS_TO_BUILD", 1.0)
    with pytest.raises(BadNetwork):
        build_lua_network(f"return function(params)\n{text}\nend", NetworkParams((1, 28, 28)))


def test_a_text_that_spoils_the_string_library_spoils_its_own_only() -> None:
    build_lua_network(
        f"string.gsub = function() while true do end end\nreturn function() return {{ model = {MODEL} }} end",
        NetworkParams((1, 28, 28)),
    )


class Clock:
    """A minute passes at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 60
        return self.now


@pytest.mark.parametrize(
    "text",
    [
        "while true do end",
        "repeat until false",
        "local function f() return f() end\nf()",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() return 1 end) end",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end})\nfor i = 1, 1e12 do pcall(next, t[i]) end",
        "for i = 1, 1e15 do end",
        "table.sort({1, 2, 3, 4, 5, 6, 7, 8}, function() while true do end end)",
        "string.gsub('aaaa', 'a', function() while true do end end)",
        "torch.Tensor(3):fill(1):apply(function() while true do end end)",
    ],
)
def test_a_loop_without_end_is_ended(text: str) -> None:
    with pytest.raises(BadNetwork, match=r"takes too long|stack overflow"):
        Runtime(clock=Clock()).run(text)


def test_what_lua_gets_from_python_opens_nothing() -> None:
    text = """
    local layer = nn.Linear(2, 2)
    for _, value in ipairs({layer, layer.weight, nn, torch, print, layer.reset, torch.Tensor}) do
        for _, key in ipairs({'__class__', '__globals__', '__dict__', '__builtins__', 'held', '__reduce__', 'f_globals'}) do
            local ok, found = pcall(function() return value[key] end)
            assert(not ok or found == nil, tostring(key))
        end
    end
    local ok, error = pcall(function() return layer.weight:view(7, 7) end)
    assert(not ok and type(error) == 'string', type(error))
    return 'done'
    """
    assert Runtime().run(text) == "done"


def test_one_text_leaves_nothing_for_the_next() -> None:
    Runtime().run("string.rep = nil; left = 1; nn.Linear = nil; torch.zeros = nil; table.insert = nil")
    assert Runtime().run(
        "return left == nil and string.rep('a', 2) == 'aa' and nn.Linear ~= nil and torch.zeros ~= nil"
    )


def test_a_text_touches_no_file(tmp_path: Path) -> None:
    """In a process of its own, whose folder stays empty."""
    text = f"print('here')\nreturn function() return {{ model = {MODEL} }} end"
    code = (
        "from jobs.networks.contract import NetworkParams\nfrom jobs.torch7.contract import build_lua_network\n"
        f"build_lua_network({text!r}, NetworkParams((1, 28, 28)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "here\n"
    assert list(tmp_path.iterdir()) == []
