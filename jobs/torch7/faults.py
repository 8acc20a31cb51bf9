"""Errors in Lua, in words and with their line."""

import re

from jobs.errors import BadNetwork

# Where PyTorch tells a number that Lua counts from 1.
COUNTED_FROM_ZERO = re.compile(
    r"(?<=except in dimension )\d+|(?<=for tensor number )\d+|(?<=non-singleton dimension )\d+|(?<=for dimension )\d+"
    r"|(?<=\bindex )\d+(?= is out of bounds)"
)


def counted_from_one(sentence: str) -> str:
    """What PyTorch says of dimensions and places, as Lua counts them."""
    said = COUNTED_FROM_ZERO.sub(lambda found: str(int(found[0]) + 1), sentence)
    return said.replace("index out of range in self", "an index is larger than the dimension that it is for")


class LuaFault(Exception):
    """An error in Lua: what it says, and the line of the text."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line

    def as_bad_network(self) -> BadNetwork:
        where = f"line {self.line}: " if self.line else ""
        return BadNetwork(f"{where}{self}", self.line)


def split_line(message: str) -> tuple[str, int | None]:
    """`network:3: what is wrong` as the sentence and the line."""
    chunk, _, rest = message.partition(":")
    number, _, said = rest.partition(":")
    if chunk == "network" and number.isdigit():
        return said.strip(), int(number)
    return message, None
