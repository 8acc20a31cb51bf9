"""Writes Torch7's files from the format, binary and ASCII, as `torch.save` does. Shares nothing with the reader."""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ELEMENTS = {
    "Float": np.float32,
    "Double": np.float64,
    "Half": np.float16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
}


@dataclass(eq=False)
class TorchStorage:
    """`kind` is the class's name without torch. and Storage: Float, Cuda, CudaLong, … `count` may be a lie."""

    kind: str
    values: np.ndarray
    count: int | None = None


@dataclass(eq=False)
class TorchTensor:
    """A window on a storage; `offset` counts from 1."""

    kind: str
    storage: TorchStorage | None
    sizes: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    offset: int = 1


@dataclass(eq=False)
class TorchObject:
    class_name: str
    fields: Any = field(default_factory=dict)
    # Before 2013 there were no versions.
    version: int | None = 1


@dataclass(eq=False)
class LuaFunction:
    """`tag` is 6, 7 or 8, by the age of the file."""

    code: bytes
    upvalues: Any = field(default_factory=list)
    tag: int = 8


def tensor(values: Any, kind: str = "Float") -> TorchTensor:
    """A tensor of these values in a storage of its own."""
    array = np.ascontiguousarray(values, dtype=ELEMENTS[element(kind)])
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return TorchTensor(kind, TorchStorage(kind, array.reshape(-1)), array.shape, strides)


def element(kind: str) -> str:
    return kind.removeprefix("Cuda") or "Float"


def module(class_name: str, **fields: Any) -> TorchObject:
    """A module of nn with what every one has."""
    empty = TorchTensor("Float", None)
    return TorchObject(class_name, {"gradInput": empty, "output": empty, "train": True, **fields})


def save_t7(path: Path, value: Any, ascii: bool = False) -> Path:
    path.write_bytes(t7_bytes(value, ascii))
    return path


def t7_bytes(value: Any, ascii: bool = False) -> bytes:
    writer = (AsciiWriter if ascii else BinaryWriter)()
    writer.value(value)
    return bytes(writer.data)


class Writer:
    def __init__(self) -> None:
        self.data = bytearray()
        self.numbers: dict[int, int] = {}
        # As long as the objects live, their ids are theirs.
        self.written: list[Any] = []

    def integers(self, *values: int) -> None:
        raise NotImplementedError

    def longs(self, *values: int) -> None:
        raise NotImplementedError

    def double(self, value: float) -> None:
        raise NotImplementedError

    def characters(self, data: bytes) -> None:
        raise NotImplementedError

    def elements(self, array: np.ndarray) -> None:
        raise NotImplementedError

    def string(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        self.integers(len(data))
        self.characters(data)

    def value(self, value: Any) -> None:
        if value is None:
            self.integers(0)
        elif isinstance(value, bool):
            self.integers(5)
            self.integers(int(value))
        elif isinstance(value, int | float):
            self.integers(1)
            self.double(value)
        elif isinstance(value, str | bytes):
            self.integers(2)
            self.string(value)
        elif isinstance(value, LuaFunction) and value.tag == 6:
            self.integers(6)
            self.string(value.code)
            self.value(value.upvalues)
        else:
            self.numbered(value)

    def numbered(self, value: Any) -> None:
        """What may be met again: where it is, only its number is written."""
        is_table = isinstance(value, dict | list)
        self.integers(3 if is_table else value.tag if isinstance(value, LuaFunction) else 4)
        known = self.numbers.get(id(value))
        if known is not None:
            self.integers(known)
            return
        self.numbers[id(value)] = number = len(self.numbers) + 1
        self.written.append(value)
        self.integers(number)
        if is_table:
            self.table(value)
        elif isinstance(value, LuaFunction):
            self.string(value.code)
            self.value(value.upvalues)
        else:
            self.torch_object(value)

    def table(self, table: dict[Any, Any] | list[Any]) -> None:
        pairs = list(enumerate(table, 1)) if isinstance(table, list) else list(table.items())
        self.integers(len(pairs))
        for key, value in pairs:
            self.value(key)
            self.value(value)

    def torch_object(self, value: Any) -> None:
        is_object = isinstance(value, TorchObject)
        if not is_object or value.version is not None:
            self.string(f"V {value.version if is_object else 1}")
        if isinstance(value, TorchStorage):
            self.string(f"torch.{value.kind}Storage")
            self.longs(len(value.values) if value.count is None else value.count)
            self.elements(value.values)
        elif isinstance(value, TorchTensor):
            self.string(f"torch.{value.kind}Tensor")
            self.integers(len(value.sizes))
            self.longs(*value.sizes)
            self.longs(*value.strides)
            self.longs(value.offset)
            self.value(value.storage)
        else:
            self.string(value.class_name)
            self.value(value.fields)


class BinaryWriter(Writer):
    def integers(self, *values: int) -> None:
        self.data += struct.pack(f"<{len(values)}i", *values)

    def longs(self, *values: int) -> None:
        self.data += struct.pack(f"<{len(values)}q", *values)

    def double(self, value: float) -> None:
        self.data += struct.pack("<d", value)

    def characters(self, data: bytes) -> None:
        self.data += data

    def elements(self, array: np.ndarray) -> None:
        self.data += array.astype(array.dtype.newbyteorder("<")).tobytes()


class AsciiWriter(Writer):
    """A line for each call that writes anything; bytes go as they are."""

    def line(self, words: list[str]) -> None:
        if words:
            self.data += " ".join(words).encode() + b"\n"

    def integers(self, *values: int) -> None:
        self.line([f"{value:d}" for value in values])

    longs = integers

    def double(self, value: float) -> None:
        self.line([f"{value:.17g}"])

    def characters(self, data: bytes) -> None:
        if data:
            self.data += data + b"\n"

    def elements(self, array: np.ndarray) -> None:
        if array.dtype.itemsize == 1:
            self.characters(array.tobytes())
        elif array.dtype.kind == "f":
            digits = 17 if array.dtype == np.float64 else 9
            self.line([f"{float(value):.{digits}g}" for value in array])
        else:
            self.line([f"{int(value):d}" for value in array])
