"""Torch7's serialised files (.t7), read as plain values and tensors. Nothing in them is ever run.

Every value begins with a number for its type. Tables, functions and objects of classes are numbered and written out where
they are first met; later only their number is.
"""

import math
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from jobs.errors import UserError
from jobs.specs import EVERYWHERE, ServerPaths
from jobs.torch7.module import MOST_VALUES
from jobs.torch7.t7_source import Source, open_source

NIL, NUMBER, STRING, TABLE, OBJECT, BOOLEAN, FUNCTION, OLD_NUMBERED_FUNCTION, NUMBERED_FUNCTION = range(9)

# A network of a thousand layers has some fifty thousand. Each may cost a kilobyte of memory, and takes microseconds.
MOST_READ = 1_000_000
# Graphs are written along their edges: as deep as they are long.
DEEPEST = 100_000
MOST_DIMENSIONS = 64

ELEMENTS = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
}
# On a GPU, plain `Cuda` is float.
ON_DEVICES = {**ELEMENTS, "Cuda": torch.float32, **{f"Cuda{name}": dtype for name, dtype in ELEMENTS.items()}}
TENSORS = {f"torch.{name}Tensor": dtype for name, dtype in ON_DEVICES.items()}
STORAGES = {f"torch.{name}Storage": dtype for name, dtype in ON_DEVICES.items()}
# Classes of these packages write something else than a table of fields.
WITHOUT_FIELDS = ("tds.", "torch.")
VERSION = re.compile(r"V \d+")

T = TypeVar("T")
# Reads a value; each `yield` asks for the value that comes next in the file, and gets it.
Steps = Generator[None, Any, T]


def read_t7(path: Path, paths: ServerPaths = EVERYWHERE) -> Any:
    """What the file holds; UserError, with the byte, when it is damaged or no file of Torch7.

    nil, booleans, strings and numbers (int where whole) are Python's. A table whose keys are 1 to n, or that has none, is a
    list, another table a dict; storages and tensors are tensors on the CPU that share memory as they do in the file. An
    object of another class is a T7Object, and a function a T7Function.
    """
    try:
        with paths.open(path) as file:
            return Reader(open_source(file, path.name)).read()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Give the path of a .t7 file.") from error
    except MemoryError as error:
        raise UserError(f"{path.name} is too large for the memory that this machine has left.") from error


@dataclass(eq=False, repr=False)
class T7Object:
    """An object of one of Torch's classes, such as nn.Linear: its fields by their Lua names."""

    class_name: str
    fields: dict[Any, Any]

    def __repr__(self) -> str:
        # Fields may lead back to the object.
        return f"<{self.class_name} with {len(self.fields)} fields>"


@dataclass(frozen=True, eq=False)
class T7Function:
    """Stands where the file has a Lua function of so many bytes."""

    size: int


@dataclass(frozen=True, eq=False)
class T7Key:
    """Stands around a key of a Lua table that Python could not take or would confuse, such as a table, or true for 1."""

    value: Any


@dataclass(eq=False)
class _Table:
    """A table while the file is read. What it becomes is known when all its keys are."""

    entries: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Storage:
    values: Tensor


class Reader:
    """Reads one value, however deep: a stack of its own stands for calls within calls."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.known: dict[int, Any] = {}
        self.tables: list[_Table] = []
        self.objects: list[tuple[T7Object, _Table]] = []
        self.count = 0
        self.plain: dict[int, Callable[[], Any]] = {
            NIL: lambda: None,
            NUMBER: lambda: _lua_number(source.double()),
            STRING: source.text,
            BOOLEAN: self._boolean,
        }
        self.numbered: dict[int, Callable[[int], Steps[None]]] = {
            TABLE: self._table,
            OBJECT: self._object,
            NUMBERED_FUNCTION: self._numbered_function,
            OLD_NUMBERED_FUNCTION: self._numbered_function,
        }

    def read(self) -> Any:
        stack = [self._value()]
        answer: Any = None
        while stack:
            try:
                stack[-1].send(answer)
            except StopIteration as end:
                stack.pop()
                answer = end.value
            else:
                if len(stack) > DEEPEST:
                    raise self.source.fault(f"values lie more than {DEEPEST:,} deep in each other")
                stack.append(self._value())
                answer = None
        if self.source.left:
            end_of_value = self.source.position
            raise self.source.fault(f"its value ends, and {self.source.left:,} more bytes follow", end_of_value)
        return _Finished(self.tables, self.objects).of(answer)

    def _value(self) -> Steps[Any]:
        self.count += 1
        if self.count > MOST_READ:
            raise self.source.fault(f"there are more than {MOST_READ:,} values")
        kind = self.source.integer()
        if kind in self.plain:
            return self.plain[kind]()
        if kind == FUNCTION:
            return (yield from self._function())
        if kind not in self.numbered:
            raise self.source.fault(f"the type of a value was expected (0 to 8), and there is {kind}")
        number = self.source.integer()
        if number not in self.known:
            yield from self.numbered[kind](number)
        return self.known[number]

    def _boolean(self) -> bool:
        value = self.source.integer()
        if value not in (0, 1):
            raise self.source.fault(f"true or false was expected (1 or 0), and there is {value}")
        return value == 1

    def _code(self) -> T7Function:
        size = self.source.checked(self.source.integer(), "a function", 1)
        self.source.characters(size)
        return T7Function(size)

    def _function(self) -> Steps[T7Function]:
        function = self._code()
        # The values that it remembers: tables among them may be met again, by their numbers.
        yield
        return function

    def _numbered_function(self, number: int) -> Steps[None]:
        self.known[number] = self._code()
        yield

    def _table(self, number: int) -> Steps[None]:
        size = self.source.checked(self.source.integer(), "a table", self.source.shortest_entry)
        table = self.known[number] = _Table()
        self.tables.append(table)
        for _ in range(size):
            at = self.source.position
            key = yield
            if key is None or (isinstance(key, float) and math.isnan(key)):
                raise self.source.fault(f"a table has the key {'nil' if key is None else 'nan'}", at)
            value = yield
            table.entries.append((key, value))

    def _object(self, number: int) -> Steps[None]:
        name = self.source.text()
        if VERSION.fullmatch(name):
            name = self.source.text()
        if name in STORAGES:
            (count,) = self.source.longs(1)
            self.known[number] = _Storage(self.source.array(count, STORAGES[name]))
        elif name in TENSORS:
            # Nothing that a tensor is made of can be the tensor.
            self.known[number] = None
            self.known[number] = yield from self._tensor(TENSORS[name])
        elif name.startswith(WITHOUT_FIELDS):
            raise self.source.fault(f"there is a {name[:60]}, which is not supported")
        else:
            found = self.known[number] = T7Object(name, {})
            at = self.source.position
            fields = yield
            if not isinstance(fields, _Table):
                raise self.source.fault(f"the fields of {name[:60]!r} were expected, and there is no table", at)
            self.objects.append((found, fields))

    def _tensor(self, dtype: torch.dtype) -> Steps[Tensor]:
        at = self.source.position
        dimensions = self.source.integer()
        if not 0 <= dimensions <= MOST_DIMENSIONS:
            raise self.source.fault(f"a tensor has {dimensions:,} dimensions")
        self.source.refuse_short_longs(dimensions)
        sizes, strides = self.source.longs(dimensions), self.source.longs(dimensions)
        (offset,) = self.source.longs(1)
        storage = yield
        shape = " × ".join(map(str, sizes))
        if min(sizes, default=0) < 0 or math.prod(size for size in sizes if size) > MOST_VALUES:
            raise self.source.fault(f"a tensor has the size {shape}", at)
        if not dimensions or 0 in sizes:
            return torch.empty(sizes or 0, dtype=dtype)
        if not isinstance(storage, _Storage) or storage.values.dtype != dtype:
            raise self.source.fault(f"a tensor of {shape} has no storage of its type", at)
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if offset < 1 or min(strides) < 0 or last > len(storage.values):
            span = f"has its values from {offset:,} to {last:,} in a storage of {len(storage.values):,}"
            raise self.source.fault(f"a tensor of {shape} {span}", at)
        return storage.values.as_strided(sizes, strides, offset - 1)


def _lua_number(value: float) -> int | float:
    """A whole number as int, as far as doubles count them all."""
    return int(value) if value.is_integer() and abs(value) <= 2**53 else value


class _Finished:
    """Values as they are handed out, made when everything is read: tables may lead back to themselves."""

    def __init__(self, tables: list[_Table], objects: list[tuple[T7Object, _Table]]) -> None:
        contents = {table: _content(table) for table in tables}
        self.finished: dict[_Table, Any] = {
            table: [] if content.keys() == set(range(1, len(content) + 1)) else {}
            for table, content in contents.items()
        }
        for table, content in contents.items():
            finished = self.finished[table]
            if isinstance(finished, list):
                finished.extend(self.of(content[number]) for number in range(1, len(content) + 1))
            else:
                finished.update(self._pairs(content))
        for found, fields in objects:
            found.fields.update(self._pairs(contents[fields]))

    def of(self, value: Any) -> Any:
        if isinstance(value, _Table):
            return self.finished[value]
        return value.values if isinstance(value, _Storage) else value

    def _pairs(self, content: dict[Any, Any]) -> dict[Any, Any]:
        return {self._key(key): self.of(value) for key, value in content.items()}

    def _key(self, key: Any) -> Any:
        return T7Key(self.of(key.value)) if isinstance(key, T7Key) else key


def _content(table: _Table) -> dict[Any, Any]:
    """The entries as Lua has them in the end: the last of a key counts, and nil takes it away."""
    content: dict[Any, Any] = {}
    wrapped: dict[int | bool, T7Key] = {}
    for key, value in table.entries:
        own = key
        if isinstance(key, bool) or not isinstance(key, str | int | float | T7Object):
            own = wrapped.setdefault(key if isinstance(key, bool) else id(key), T7Key(key))
        content.pop(own, None)
        if value is not None:
            content[own] = value
    return content
