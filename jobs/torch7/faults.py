"""Errors in Lua, in words and with their line."""

from jobs.errors import BadNetwork


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
