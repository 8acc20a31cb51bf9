"""What of Lua, LuaJIT and the `th` program a text finds beside torch and nn."""

import pytest

from jobs.errors import BadNetwork
from jobs.torch7.runtime import Runtime

# As LuaJIT's own documentation has them.
BITS = {
    "bit.tobit(0xffffffff)": -1,
    "bit.tobit(0xffffffff + 1)": 0,
    "bit.tobit(2^40 + 1234)": 1234,
    "bit.tohex(1)": "00000001",
    "bit.tohex(-1)": "ffffffff",
    "bit.tohex(0xffffffff)": "ffffffff",
    "bit.tohex(-1, -8)": "FFFFFFFF",
    "bit.tohex(0x21, 4)": "0021",
    "bit.tohex(0x87654321, 4)": "4321",
    "bit.bnot(0)": -1,
    "bit.bnot(0x12345678)": -305419897,
    "bit.bor(1, 2, 4, 8)": 15,
    "bit.band(0x12345678, 0xff)": 0x78,
    "bit.bxor(0xa5a5f0f0, 0xaa55ff00)": 0x0FF00FF0,
    "bit.lshift(1, 0)": 1,
    "bit.lshift(1, 8)": 256,
    "bit.lshift(1, 40)": 256,
    "bit.lshift(0x87654321, 12)": 0x54321000,
    "bit.rshift(256, 8)": 1,
    "bit.rshift(-256, 8)": 16777215,
    "bit.rshift(0x87654321, 12)": 0x87654,
    "bit.arshift(256, 8)": 1,
    "bit.arshift(-256, 8)": -1,
    "bit.tohex(bit.arshift(0x87654321, 12))": "fff87654",
    "bit.rol(0x12345678, 12)": 0x45678123,
    "bit.ror(0x12345678, 12)": 0x67812345,
    "bit.rol(0x12345678, 32)": 0x12345678,
    "bit.bswap(0x12345678)": 0x78563412,
    "bit.tohex(bit.bswap(0x78563412))": "12345678",
    "require('bit').band(7, '3')": 3,
}

VALUES = {
    "os.time({ year = 2017, month = 1, day = 2, hour = 12 }) - os.time({ year = 2017, month = 1, day = 1, hour = 12 })": 86400,
    "type(os.time()) .. type(os.clock()) .. type(sys.clock())": "numbernumbernumber",
    "os.date('!%Y-%m-%d', 0)": "1970-01-01",
    "os.date('!*t', 0).year": 1970,
    "os.difftime(5, 3)": 2,
    "select('#', table.unpack({ 1, 2, 3 }))": 3,
    "table.pack(1, nil, 3).n": 3,
    "torch.setnumthreads(4) == nil and torch.getnumthreads()": 1,
    "#arg": 0,
}

# Every function of Lua 5.1's own libraries, but those that a sandbox cannot have.
OF_LUA = {
    "math": "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min modf pi pow rad "
    "random randomseed sin sinh sqrt tan tanh",
    "string": "byte char find format gmatch gsub len lower match rep reverse sub upper",
    "table": "concat foreach foreachi getn insert maxn remove sort",
    "_G": "assert collectgarbage error getmetatable ipairs next pairs pcall print rawequal rawget rawset require select "
    "setmetatable tonumber tostring type unpack xpcall _VERSION",
}

# Lines as people write them who know another language, and the end of the sentence.
SLIPS = {
    "if x != 1 then end": "not equal is ~= in Lua",
    "x += 1": "Lua has no +=; write x = x + 1",
    "i++": "Lua has no ++; write x = x + 1",
    "if a && b then end": "Lua has `and` and `or`",
    "for i = 1, 3 do goto continue ::continue:: end": "goto is LuaJIT's alone; an if or a function does the same here",
    "for i = 1, 3 do if i == 2 then continue end end": "Lua has no continue; put the rest of the loop in an if",
    "# a comment": "comments begin with --",
    "// a comment": "comments begin with --",
    "import torch": "is this Python? Choose it above the text",
    "def network(params):": "is this Python? Choose it above the text",
    "if x == 1\n    y = 2 --= 3\nend": "line 2: 'then' expected near 'y'",
    "if x = 1 then end": "equal is == in Lua",
    "function f(x) {\n  return x\n}": "the body of a function ends in `end` and has no braces",
    "net = Linear(3, 4)": "attempt to call global 'Linear' (a nil value); is nn.Linear meant?",
    "cudnn.benchmark = true": "attempt to index global 'cudnn' (a nil value); require 'cudnn' comes first",
    "coroutine.wrap(print)": "networks here have no coroutines",
    "bit.band(nil, 1)": "bit.band got nil as its argument 1; it takes numbers",
    "torch.CmdLine():argument('-data')": "CmdLine:argument: networks here have no command line, so that -data has no value; "
    "give it as an option with a default",
}


@pytest.mark.parametrize(("expression", "value"), [*BITS.items(), *VALUES.items()])
def test_an_expression_has_the_value_that_luajit_gives_it(expression: str, value: object) -> None:
    assert Runtime().run(f"return {expression}") == value


@pytest.mark.parametrize("library", OF_LUA)
def test_the_libraries_of_lua_are_whole(library: str) -> None:
    names = ", ".join(f"'{name}'" for name in OF_LUA[library].split())
    text = f"local missing = '' for _, n in ipairs({{{names}}}) do missing = missing .. ({library}[n] and '' or n) end"
    assert Runtime().run(f"{text} return missing") == ""


def test_options_of_a_command_line_have_their_defaults() -> None:
    text = """
    local cmd = torch.CmdLine()
    cmd:text('Options')
    cmd:option('-rate', 0.1, 'learning rate')
    cmd:option('--hidden', 300)
    local options = cmd:parse(arg)
    return options.rate .. ' ' .. options.hidden
    """
    assert Runtime().run(text) == "0.1 300"


@pytest.mark.parametrize("text", SLIPS)
def test_a_slip_is_told_with_what_is_to_be_done(text: str) -> None:
    with pytest.raises(BadNetwork) as caught:
        Runtime().run(text)
    assert str(caught.value).endswith(SLIPS[text])
    assert caught.value.line is not None
