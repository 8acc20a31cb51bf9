"""The numbers, strings and arrays that a file of Torch7 is made of, in binary and in ASCII.

Binary files have little-endian 4-byte integers and 8-byte longs and doubles. ASCII files have a line for each of these, and
strings as they are.
"""

import os
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from io import BufferedReader
from stat import S_ISREG
from typing import TypeVar

import torch
from torch import Tensor

from jobs.errors import UserError
from jobs.torch7.module import MOST_VALUES

LARGEST_FILE = 16 * 2**30
LONGEST_NUMBER = 64
CHUNK = 2**20
BYTE_WIDE = (torch.int8, torch.uint8)
IN_NUMBERS = re.compile(rb"[-+.0-9eEinfaINFA\s]*")

T = TypeVar("T")


class Source(ABC):
    """A file read from its start. Sizes are held against what is left of it before memory is taken."""

    # The bytes of the shortest entry of a table: true and nil.
    shortest_entry: int

    def __init__(self, file: BufferedReader, name: str, size: int) -> None:
        self.file = file
        self.name = name
        self.size = size
        self.position = 0
        # Where the item read last began: what faults speak of.
        self.start = 0

    @property
    def left(self) -> int:
        return self.size - self.position

    def fault(self, found: str, at: int | None = None) -> UserError:
        byte = self.start if at is None else at
        return UserError(f"{self.name} cannot be read as a file of Torch7: at byte {byte:,} {found}.")

    def ended(self) -> UserError:
        return self.fault("more was expected, and the file ends")

    def take(self, count: int) -> bytes:
        self.start = self.position
        data = self.file.read(count)
        self.position += len(data)
        if len(data) < count:
            raise self.ended()
        return data

    def checked(self, count: int, what: str, shortest: int) -> int:
        """A number of things that take at least so many bytes each."""
        if count < 0:
            raise self.fault(f"{what} has the size {count:,}")
        if count * shortest > self.left:
            raise self.fault(f"{what} has the size {count:,}, and the file has only {self.left:,} more bytes")
        return count

    def text(self) -> str:
        """A string. Lua's are bytes: what is no UTF-8 is read as a letter for each."""
        data = self.characters(self.checked(self.integer(), "a string", 1))
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def empty(self, count: int, dtype: torch.dtype) -> Tensor:
        if count > MOST_VALUES:
            raise self.fault(f"a storage has {count:,} values; at most {MOST_VALUES:,} are read")
        try:
            return torch.empty(count, dtype=dtype)
        except RuntimeError as error:
            # torch's way of saying that there is no memory.
            raise MemoryError from error

    @abstractmethod
    def integer(self) -> int: ...

    @abstractmethod
    def longs(self, count: int) -> list[int]: ...

    @abstractmethod
    def double(self) -> float: ...

    @abstractmethod
    def characters(self, count: int) -> bytes: ...

    @abstractmethod
    def array(self, count: int, dtype: torch.dtype) -> Tensor: ...

    @abstractmethod
    def refuse_short_longs(self, dimensions: int) -> None:
        """Before the sizes of a tensor: UserError when they are written in 4 bytes each."""


class BinarySource(Source):
    shortest_entry = 12

    def integer(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def longs(self, count: int) -> list[int]:
        return list(struct.unpack(f"<{count}q", self.take(8 * count)))

    def double(self) -> float:
        return float(struct.unpack("<d", self.take(8))[0])

    def characters(self, count: int) -> bytes:
        return self.take(count)

    def array(self, count: int, dtype: torch.dtype) -> Tensor:
        values = self.empty(self.checked(count, "a storage", dtype.itemsize), dtype)
        self.start = self.position
        if count:
            memory = values.numpy().data.cast("B")
            read = self.file.readinto(memory)
            self.position += read
            if read < len(memory):
                raise self.ended()
        return values

    def refuse_short_longs(self, dimensions: int) -> None:
        # Sizes, strides and the offset are from 1 on: 8-byte longs, read as 4-byte numbers, have zeros between them.
        count = 2 * dimensions + 1
        ahead = self.file.read(4 * count + 4)
        self.file.seek(self.position)
        if not dimensions or len(ahead) < 4 * count + 4:
            return
        *numbers, storage = struct.unpack(f"<{count + 1}i", ahead)
        # nil, or the number for an object.
        if min(numbers) >= 1 and storage in (0, 4):
            raise self.fault(
                "a tensor has sizes of 4 bytes: a 32-bit machine wrote it. "
                'Save it there with torch.save(name, object, "ascii")',
                self.position,
            )


class AsciiSource(Source):
    shortest_entry = 6

    def line(self) -> bytes:
        self.start = self.position
        line = self.file.readline(LONGEST_NUMBER)
        self.position += len(line)
        if not line.endswith(b"\n"):
            # Without its end a line may be a part of one: 1 of 19.
            raise (
                self.fault(f"a line of one number was expected, and there is {line[:20]!r}")
                if self.left
                else self.ended()
            )
        return line

    def number(self, convert: Callable[[bytes], T], what: str, text: bytes) -> T:
        try:
            # Python takes underscores too.
            if IN_NUMBERS.fullmatch(text):
                return convert(text)
            raise ValueError(text)
        except (ValueError, OverflowError) as error:
            raise self.fault(f"{what} was expected, and there is {text[:20]!r}") from error

    def integer(self) -> int:
        return self.number(int, "a whole number", self.line())

    def longs(self, count: int) -> list[int]:
        return [int(value) for value in self.array(count, torch.int64).tolist()]

    def double(self) -> float:
        return self.number(float, "a number", self.line())

    def characters(self, count: int) -> bytes:
        data = self.take(count)
        if count and self.file.peek(1)[:1] == b"\n":
            self.file.read(1)
            self.position += 1
        return data

    def array(self, count: int, dtype: torch.dtype) -> Tensor:
        if dtype in BYTE_WIDE:
            data = self.characters(self.checked(count, "a storage", 1))
            return torch.frombuffer(bytearray(data), dtype=dtype) if count else self.empty(0, dtype)
        # A digit each, and a space or the end of the line.
        values = self.empty(self.checked(count, "a storage", 2 if count > 1 else 1), dtype)
        filled = 0
        rest = b""
        while filled < count:
            self.start = self.position
            chunk = self.file.readline(CHUNK)
            self.position += len(chunk)
            if not self.left and not chunk.endswith(b"\n"):
                raise self.ended()
            if len(rest) > LONGEST_NUMBER:
                raise self.fault(f"a number was expected, and there is {rest[:20]!r}")
            whole, rest = _whole_numbers(rest + chunk)
            read = self.number(lambda text: _numbers(text, dtype), "a line of numbers", whole)
            missing = count - filled - len(read)
            if missing < 0 or (missing > 0 and chunk.endswith(b"\n")):
                raise self.fault(
                    f"a line of {count:,} numbers was expected, and it has {'more' if missing < 0 else 'less'}"
                )
            values[filled : filled + len(read)] = read
            filled += len(read)
        return values

    def refuse_short_longs(self, dimensions: int) -> None:
        """Numbers in ASCII have no width."""


def _whole_numbers(text: bytes) -> tuple[bytes, bytes]:
    """The text up to the last number that is surely complete, and the rest."""
    if text.endswith(b"\n"):
        return text, b""
    whole, space, rest = text.rpartition(b" ")
    return whole + space, rest


def _numbers(text: bytes, dtype: torch.dtype) -> Tensor:
    if dtype.is_floating_point:
        # By way of doubles: what is too large for the type is infinite then, as C reads it.
        return torch.tensor([float(word) for word in text.split()], dtype=torch.float64).to(dtype)
    limits = torch.iinfo(dtype)
    numbers = [int(word) for word in text.split()]
    if numbers and not limits.min <= min(numbers) <= max(numbers) <= limits.max:
        raise OverflowError(f"{dtype} is too narrow")
    return torch.tensor(numbers, dtype=dtype)


# What files begin with that people may take for Torch7's.
OTHER_FILES = {
    b"PK\x03\x04": "a zip archive, as PyTorch writes it",
    b"\x80\x02": "a file of PyTorch, or a Python pickle",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "compressed with gzip. Unpack it first",
    b"<": "a web page. Download the file itself",
}


def open_source(file: BufferedReader, name: str) -> Source:
    """Binary or ASCII, by the type of the first value; UserError when the file is neither."""
    status = os.fstat(file.fileno())
    if not S_ISREG(status.st_mode):
        raise UserError(f"{name} is no file. Give the path of a .t7 file.")
    if status.st_size > LARGEST_FILE:
        raise UserError(f"{name} has {status.st_size:,} bytes; files of Torch7 are read up to {LARGEST_FILE:,}.")
    begin = file.read(4)
    file.seek(0)
    if not begin:
        raise UserError(f"{name} is empty. Give the path of a .t7 file.")
    for other, words in OTHER_FILES.items():
        if begin.startswith(other):
            raise UserError(f"{name} is no file of Torch7: it looks like {words}.")
    if re.match(rb"[0-8]\s", begin):
        return AsciiSource(file, name, status.st_size)
    if len(begin) == 4 and begin[:3] == bytes(3) and 1 <= begin[3] <= 8:
        raise UserError(f"{name} has the byte order of another kind of machine (big-endian). Save it as ASCII there.")
    return BinarySource(file, name, status.st_size)
