"""What people meant who wrote something in Lua that there is not."""

import difflib
import re
from collections.abc import Callable, Iterable

from jobs.torch7.module import CLASSES
from jobs.torch7.tensors import TENSOR_METHODS, TORCH_FUNCTIONS

MISSING = re.compile(r"attempt to (call|index) (field|method|global) '(\w+)' \(a nil value\)")
NO_FILES = "networks here have no files, and start no programs"
NO_CODE = "networks here run no other code than their text"
NOT_HERE = {
    **dict.fromkeys(("io", "execute", "exit", "remove", "rename", "tmpname", "getenv", "setlocale", "popen"), NO_FILES),
    **dict.fromkeys(("dofile", "load", "loadstring", "loadfile", "debug", "ffi", "jit", "setfenv", "getfenv"), NO_CODE),
    "coroutine": "networks here have no coroutines",
    "cudnn": "require 'cudnn' comes first",
    "cutorch": "require 'cutorch' comes first",
    "nngraph": "require 'nngraph' comes first",
    "dpnn": "its layers are in nn, as in nn.OneHot",
    "self": "functions that use self have a colon in their name, as in function nn.Name:updateOutput(input)",
}

COMMENT_OR_STRING = re.compile(r"""--.*|"[^"]*"|'[^']*'""")
# What a line shows that Lua cannot read, and what is to be done.
SYNTAX: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^\s*(import|from|def|class)\s+\w"), "is this Python? Choose it above the text"),
    (re.compile(r"^\s*(#|//|/\*)"), "comments begin with --"),
    (re.compile(r"!="), "not equal is ~= in Lua"),
    (re.compile(r"[-+*/]="), "Lua has no +=; write x = x + 1"),
    (re.compile(r"\+\+"), "Lua has no ++; write x = x + 1"),
    (re.compile(r"&&|\|\|"), "Lua has `and` and `or`"),
    (re.compile(r"\bgoto\b|^\s*::"), "goto is LuaJIT's alone; an if or a function does the same here"),
    (re.compile(r"\bcontinue\b"), "Lua has no continue; put the rest of the loop in an if"),
    (re.compile(r"\belif\b"), "it is elseif in Lua"),
    (re.compile(r"\b(None|null|True|False)\b"), "these are nil, true and false in Lua"),
    (re.compile(r"\bfunction\b[^)]*\)\s*\{"), "the body of a function ends in `end` and has no braces"),
    (re.compile(r"\bif\b.*[^=~<>]=[^=]"), "equal is == in Lua"),
    (re.compile(r"[“”‘’]"), "quotation marks are \" or '"),
)


def advice_on_syntax(text: str, line: int | None) -> str:
    """What is to be done about a line that Lua cannot read, or the one before, where that can be seen."""
    if line is None:
        return ""
    lines = text.splitlines()
    for written in reversed(lines[max(line - 2, 0) : line]):
        source = COMMENT_OR_STRING.sub("", written)
        for pattern, advice in SYNTAX:
            if pattern.search(source):
                return f"; {advice}"
    return ""


def advice_on_classes(message: str, text: str, line: int | None) -> str:
    """Where nil came of a number of classes that there is not."""
    lines = text.splitlines()
    source = lines[line - 1] if line is not None and 0 < line <= len(lines) else ""
    if "nil" not in message or not re.search("nclasses", source, re.IGNORECASE):
        return ""
    return "; nclasses is nil for a dataset without classes: write their number"


def advice_on_name(message: str, methods_of_modules: Callable[[], Iterable[str]]) -> str:
    """What a name that there is not was meant to be, or why there is no such thing."""
    found = MISSING.search(message)
    if found is None:
        return ""
    done, kind, wrong = found.groups()
    if wrong in NOT_HERE and kind != "method":
        return f"; {NOT_HERE[wrong]}"
    if done == "index":
        return ""
    if kind == "global":
        return _meant(wrong, {name: f"nn.{name}" for name in CLASSES}, cutoff=0.95)
    if kind == "field":
        return _meant(
            wrong, {name: f"nn.{name}" for name in CLASSES} | {name: f"torch.{name}" for name in TORCH_FUNCTIONS}
        )
    names = [*TENSOR_METHODS, *methods_of_modules()]
    names += [name for known in CLASSES.values() for name in known.lua_methods()]
    return _meant(wrong, {name: f":{name}" for name in names})


def _meant(wrong: str, names: dict[str, str], cutoff: float = 0.75) -> str:
    # Capitals are the most common slip of all.
    in_small = {name.lower(): meant for name, meant in names.items()}
    near = difflib.get_close_matches(wrong.lower(), in_small, n=1, cutoff=cutoff)
    return f"; is {in_small[near[0]]} meant?" if near else ""
