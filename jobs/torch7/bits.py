"""LuaJIT's `bit`: numbers of 32 bits, with a sign."""

from collections.abc import Callable
from functools import reduce
from math import isfinite
from operator import and_, or_, xor

ALL = 2**32 - 1


def as_signed(bits: int) -> int:
    bits &= ALL
    return bits - 2**32 if bits >= 2**31 else bits


def as_bits(number: float) -> int:
    """The nearest whole number's last 32 bits; of halves the even one's."""
    return round(number) & ALL if isfinite(number) else 0


def rotated_left(bits: int, count: int) -> int:
    count &= 31
    return bits << count | bits >> (32 - count)


# Each takes numbers from 0 to 2³² - 1; what is past 32 bits of their results does not count.
OPERATIONS: dict[str, Callable[..., int]] = {
    "tobit": lambda bits: bits,
    "bnot": lambda bits: ~bits,
    "band": lambda *all_bits: reduce(and_, all_bits),
    "bor": lambda *all_bits: reduce(or_, all_bits),
    "bxor": lambda *all_bits: reduce(xor, all_bits),
    "lshift": lambda bits, count: bits << (count & 31),
    "rshift": lambda bits, count: bits >> (count & 31),
    "arshift": lambda bits, count: as_signed(bits) >> (count & 31),
    "rol": rotated_left,
    "ror": lambda bits, count: rotated_left(bits, -count),
    "bswap": lambda bits: int.from_bytes(bits.to_bytes(4, "little"), "big"),
}


def in_hex(number: float, digits: float = 8) -> str:
    """The last so many digits; in capitals where their number is negative."""
    count = min(abs(int(digits)), 8)
    text = f"{as_bits(number):08x}"[8 - count :]
    return text.upper() if digits < 0 else text


class BitCommands:
    def lua_bits(self, name: str, *numbers: float) -> int | str:
        if name == "tohex":
            return in_hex(*numbers)
        return as_signed(OPERATIONS[name](*map(as_bits, numbers)))
