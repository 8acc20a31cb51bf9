"""Files of Torch7, written by an independent writer and read; and all that a damaged or hostile file can hold."""

import io
import math
import os
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jobs.errors import UserError
from jobs.torch7.t7 import T7Function, T7Key, T7Object, read_t7
from tests.t7_writer import (
    ELEMENTS,
    LuaFunction,
    TorchObject,
    TorchStorage,
    TorchTensor,
    module,
    save_t7,
    t7_bytes,
    tensor,
)

FORMATS = pytest.mark.parametrize("ascii", [False, True], ids=["binary", "ascii"])

tensors = st.sampled_from(sorted(ELEMENTS)).flatmap(
    lambda kind: arrays.arrays(ELEMENTS[kind], arrays.array_shapes(max_dims=4, max_side=4)).map(
        lambda values: tensor(values, kind)
    )
)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
plain = st.booleans() | numbers | st.text()
values = st.recursive(
    plain | tensors,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.lists(inner, max_size=3).map(
            lambda fields: TorchObject("nn.Linear", {f"field{place}": value for place, value in enumerate(fields)})
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def t7(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where files are written one after the other."""
    return tmp_path_factory.mktemp("t7") / "model.t7"


def read(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    return read_t7(path)


def is_same(found: Any, written: Any) -> bool:
    """Whether the reader's value is the one that was written."""
    if isinstance(written, TorchTensor):
        values = np.lib.stride_tricks.as_strided(
            written.storage.values[written.offset - 1 :],
            written.sizes,
            [stride * written.storage.values.itemsize for stride in written.strides],
        )
        return (
            isinstance(found, torch.Tensor)
            and found.numpy().dtype == values.dtype
            and np.array_equal(found.numpy(), values, equal_nan=values.dtype.kind == "f")
        )
    if isinstance(written, TorchObject):
        return (
            isinstance(found, T7Object)
            and found.class_name == written.class_name
            and found.fields.keys() == written.fields.keys()
            and all(is_same(found.fields[name], value) for name, value in written.fields.items())
        )
    if isinstance(written, dict) and written:
        return found.keys() == written.keys() and all(is_same(found[key], value) for key, value in written.items())
    if isinstance(written, list | dict):
        return isinstance(found, list) and len(found) == len(written) and all(map(is_same, found, written))
    return type(found) is type(as_lua_has_it(written)) and bool(found == written)


def as_lua_has_it(value: Any) -> Any:
    """Lua's numbers are doubles, of which whole ones are handed out as int."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) <= 2**53
    return int(value) if is_whole else value


@given(written=values | st.none(), ascii=st.booleans())
@settings(max_examples=150)
def test_what_is_written_is_read(t7: Path, written: Any, ascii: bool) -> None:
    assert is_same(read(t7, t7_bytes(written, ascii)), written)


@FORMATS
def test_tensors_of_one_storage_share_memory(t7: Path, ascii: bool) -> None:
    storage = TorchStorage("Float", np.arange(12, dtype=np.float32))
    transposed = TorchTensor("Float", storage, (3, 2), (1, 6), 2)
    row = TorchTensor("Float", storage, (4,), (1,), 5)
    found = read(t7, t7_bytes({"storage": storage, "transposed": transposed, "row": row, "again": row}, ascii))
    assert found["transposed"].tolist() == [[1, 7], [2, 8], [3, 9]]
    assert found["again"] is found["row"]
    found["storage"][8] = -1
    assert found["row"].tolist() == [4, 5, 6, 7]
    assert found["transposed"].tolist() == [[1, 7], [2, -1], [3, 9]]


@FORMATS
@pytest.mark.parametrize("name", ["", *ELEMENTS])
def test_tensors_of_gpus_become_tensors_on_the_cpu(t7: Path, ascii: bool, name: str) -> None:
    found = read(t7, t7_bytes(tensor([[1, 2], [3, 4]], f"Cuda{name}"), ascii))
    assert found.device.type == "cpu"
    assert found.tolist() == [[1, 2], [3, 4]]
    assert found.numpy().dtype == ELEMENTS[name or "Float"]


@FORMATS
def test_empty_and_expanded_tensors(t7: Path, ascii: bool) -> None:
    one = TorchStorage("Double", np.array([7.5]))
    found = read(t7, t7_bytes([TorchTensor("Float", None), TorchTensor("Double", one, (2, 3), (0, 0), 1)], ascii))
    assert found[0].shape == (0,)
    assert found[1].tolist() == [[7.5] * 3] * 2


@FORMATS
def test_numbers_that_are_no_numbers(t7: Path, ascii: bool) -> None:
    found = read(t7, t7_bytes([math.nan, math.inf, -math.inf, tensor([math.nan, -math.inf], "Double")], ascii))
    assert math.isnan(found[0]) and found[1:3] == [math.inf, -math.inf]
    assert found[3].isnan().tolist() == [True, False] and found[3][1] == -math.inf


@FORMATS
def test_table_is_a_list_only_when_its_keys_are_1_to_n(t7: Path, ascii: bool) -> None:
    assert read(t7, t7_bytes({2.0: "b", 1: "a"}, ascii)) == ["a", "b"]
    assert read(t7, t7_bytes({1: "a", 3: "c"}, ascii)) == {1: "a", 3: "c"}
    assert read(t7, t7_bytes({1: "a", "n": 1}, ascii)) == {1: "a", "n": 1}
    assert read(t7, t7_bytes({0.5: "a"}, ascii)) == {0.5: "a"}
    assert read(t7, t7_bytes([], ascii)) == []


@FORMATS
def test_keys_that_python_cannot_have(t7: Path, ascii: bool) -> None:
    node = TorchObject("graph.Node", {})
    found = read(t7, t7_bytes(KeysOfAllKinds([(True, "true"), (1, "one"), ([5], "table"), (node, 3)]), ascii))
    assert found[1] == "one"
    keys = {str(key.value): found[key] for key in found if isinstance(key, T7Key)}
    assert keys == {"True": "true", "[5]": "table"}
    assert [found[key] for key in found if isinstance(key, T7Object)] == [3]


class KeysOfAllKinds(dict[Any, Any]):
    """Pairs for the writer, whose keys Python's dict would not take."""

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        super().__init__()
        self.pairs = pairs

    def items(self) -> Any:
        return self.pairs


@FORMATS
def test_tables_that_hold_themselves(t7: Path, ascii: bool) -> None:
    table: dict[str, Any] = {"list": []}
    table["self"] = table
    table["list"].append(table)
    node = TorchObject("nngraph.Node", {"data": table})
    node.fields["node"] = node
    table["node"] = node
    found = read(t7, t7_bytes(table, ascii))
    assert found["self"] is found and found["list"] == [found]
    assert found["node"].fields["node"] is found["node"] and found["node"].fields["data"] is found
    assert repr(found["node"]) == "<nngraph.Node with 2 fields>"


@FORMATS
@pytest.mark.parametrize("tag", [6, 7, 8])
def test_functions_are_never_read(t7: Path, ascii: bool, tag: int) -> None:
    shared = [1, 2]
    code = LuaFunction(b'\x1bLua\nos.execute("rm -rf /")\x00', {"name": "upvalue", "value": shared}, tag)
    found = read(t7, t7_bytes({"before": code, "same": code, "shared": shared}, ascii))
    assert isinstance(found["before"], T7Function) and found["before"].size == len(code.code)
    # Numbered ones are met once.
    assert (found["before"] is found["same"]) == (tag != 6)
    assert found["shared"] == [1, 2]


@FORMATS
def test_objects_from_before_versions(t7: Path, ascii: bool) -> None:
    found = read(t7, t7_bytes(TorchObject("nn.Tanh", {"gradInput": 1}, version=None), ascii))
    assert (found.class_name, found.fields) == ("nn.Tanh", {"gradInput": 1})


@FORMATS
def test_string_that_is_no_text(t7: Path, ascii: bool) -> None:
    assert read(t7, t7_bytes([b"\xff\n\x00", "é", ""], ascii)) == ["ÿ\n\x00", "é", ""]


def test_long_lines_of_ascii(t7: Path) -> None:
    """A storage is one line, however long."""
    written = tensor(np.random.default_rng(0).normal(size=200_000), "Double")
    assert is_same(read(t7, t7_bytes(written, ascii=True)), written)


def small_network() -> TorchObject:
    """Two layers that share a storage, a function and a GPU's tensor."""
    storage = TorchStorage("Float", np.arange(8, dtype=np.float32) / 4)
    first = module("nn.Linear", weight=TorchTensor("Float", storage, (2, 2), (2, 1), 1))
    second = module("nn.Linear", weight=TorchTensor("Float", storage, (2, 2), (2, 1), 5), bias=tensor([1, 2], "Cuda"))
    return module("nn.Sequential", modules=[first, second], hook=LuaFunction(b"code"), sizes=tensor([1, -1], "Long"))


@FORMATS
def test_file_that_ends_anywhere(t7: Path, ascii: bool) -> None:
    whole = t7_bytes(small_network(), ascii)
    read(t7, whole)
    for length in range(len(whole)):
        with pytest.raises(UserError):
            read(t7, whole[:length])


@FORMATS
@pytest.mark.parametrize("flip", [0xFF, 0x01, 0x80, 0x10])
def test_any_byte_may_be_wrong(t7: Path, ascii: bool, flip: int) -> None:
    whole = t7_bytes(small_network(), ascii)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= flip
        try:
            found = read(t7, bytes(damaged))
        except UserError as error:
            assert str(error).endswith(".")
        else:
            assert isinstance(found, T7Object)


@given(data=st.binary(max_size=200))
@settings(max_examples=300)
def test_bytes_by_chance(t7: Path, data: bytes) -> None:
    try:
        read(t7, data)
    except UserError:
        return


@given(
    lines=st.lists(st.sampled_from(["0", "1", "2", "3", "4", "5", "8", "-1", "99", "V 1", "torch.FloatTensor", "1 1"]))
)
@settings(max_examples=300)
def test_lines_by_chance(t7: Path, lines: list[str]) -> None:
    try:
        read(t7, "\n".join(lines).encode())
    except UserError:
        return


def nested_tables(depth: int, ascii: bool) -> bytes:
    """A table in a table in a table: the writer itself could not go as deep."""
    key = t7_bytes(1, ascii)
    end = t7_bytes(True, ascii)
    pack = (lambda *values: "".join(f"{value}\n" for value in values).encode()) if ascii else pack_integers
    return b"".join(pack(3, number, 1) + key for number in range(1, depth + 1)) + end


def pack_integers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


@FORMATS
def test_ten_thousand_tables_in_each_other(t7: Path, ascii: bool) -> None:
    found = read(t7, nested_tables(10_000, ascii))
    depth = 0
    while found is not True:
        (found,) = found
        depth += 1
    assert depth == 10_000


def test_too_deep(t7: Path) -> None:
    with pytest.raises(UserError, match="more than 100,000 deep"):
        read(t7, nested_tables(150_000, False))


def test_too_many_values(t7: Path) -> None:
    count = 600_000
    entry = np.zeros(count, dtype=[("type", "<i4"), ("key", "<f8"), ("value", "<i4"), ("true", "<i4")])
    entry["type"], entry["key"], entry["value"], entry["true"] = 1, np.arange(count), 5, 1
    with pytest.raises(UserError, match="more than 1,000,000 values"):
        read(t7, pack_integers(3, 1, count) + entry.tobytes())


@pytest.mark.parametrize("kind", ["Float", "Double", "Byte", "Long"])
@pytest.mark.parametrize("count", [2**60, 2**62, -1, -(2**63), 6])
@FORMATS
def test_storages_larger_than_the_file(t7: Path, kind: str, count: int, ascii: bool) -> None:
    storage = TorchStorage(kind, np.ones(4, dtype=ELEMENTS[kind]), count)
    started = time.thread_time()
    with pytest.raises(UserError):
        read(t7, t7_bytes(storage, ascii))
    assert time.thread_time() - started < 1


def test_storage_larger_than_the_file_is_said(t7: Path) -> None:
    with pytest.raises(
        UserError, match=r"at byte 37 a storage has the size 1,152,921,504,606,846,976, and the file has"
    ):
        read(t7, t7_bytes(TorchStorage("Float", np.ones(4, dtype=np.float32), 2**60)))


@FORMATS
@pytest.mark.parametrize(
    ("sizes", "strides", "offset"),
    [
        ((2, 2), (4, 1), 1),
        ((2, 2), (2, 1), 2),
        ((2, 2), (2, 1), 0),
        ((2, 2), (2, 1), -(2**62)),
        ((2, 2), (2, -1), 2),
        ((-2, 2), (2, 1), 1),
        ((-2, -2), (2, 1), 1),
        ((2**40, 2**40), (0, 0), 1),
        ((2**62,), (2**62,), 1),
        ((0, 2**62, 2**62), (1, 1, 1), 1),
        ((1,), (1,), 5),
        ((1,), (1,), 2**62),
    ],
)
def test_tensors_beyond_their_storage(
    t7: Path, sizes: tuple[int, ...], strides: tuple[int, ...], offset: int, ascii: bool
) -> None:
    storage = TorchStorage("Float", np.ones(4, dtype=np.float32))
    with pytest.raises(UserError, match="a tensor"):
        read(t7, t7_bytes(TorchTensor("Float", storage, sizes, strides, offset), ascii))


@FORMATS
def test_storage_of_another_type(t7: Path, ascii: bool) -> None:
    storage = TorchStorage("Double", np.ones(4))
    for wrong in (storage, None, TorchTensor("Float", None), [1], module("nn.Tanh")):
        with pytest.raises(UserError, match="a tensor of 4 has no storage of its type"):
            read(t7, t7_bytes(TorchTensor("Float", wrong, (4,), (1,)), ascii))  # type: ignore[arg-type]


@FORMATS
def test_tensor_that_is_its_own_storage(t7: Path, ascii: bool) -> None:
    itself = TorchTensor("Float", None, (4,), (1,))
    itself.storage = itself  # type: ignore[assignment]
    with pytest.raises(UserError, match="has no storage of its type"):
        read(t7, t7_bytes(itself, ascii))


@FORMATS
@pytest.mark.parametrize("fields", [None, 3, "text", TorchObject("nn.Tanh", {})])
def test_object_without_fields(t7: Path, fields: Any, ascii: bool) -> None:
    with pytest.raises(UserError, match=r"the fields of 'nn.Linear' were expected, and there is no table"):
        read(t7, t7_bytes(TorchObject("nn.Linear", fields), ascii))


@FORMATS
def test_keys_that_lua_refuses(t7: Path, ascii: bool) -> None:
    for key, name in ((None, "nil"), (math.nan, "nan")):
        with pytest.raises(UserError, match=f"a table has the key {name}"):
            read(t7, t7_bytes({key: 1}, ascii))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(2**20), "at byte 4 its value ends, and 1,048,572 more bytes follow"),
        (b"", "is empty"),
        (b"\x02", "at byte 0 more was expected, and the file ends"),
        (pack_integers(77), r"the type of a value was expected \(0 to 8\), and there is 77"),
        (pack_integers(-3), "there is -3"),
        (pack_integers(5, 7), "at byte 4 true or false was expected"),
        (pack_integers(2, -5), "at byte 4 a string has the size -5"),
        (pack_integers(2, 2**31 - 1), "a string has the size 2,147,483,647"),
        (pack_integers(3, 1, 2**31 - 1), "a table has the size 2,147,483,647"),
        (pack_integers(3, 1, -1), "a table has the size -1"),
        (pack_integers(8, 1, 2**30), "a function has the size"),
        (b"3\n1\nmany\n", r"at byte 4 a whole number was expected, and there is b'many"),
        (b"3\n1\n1_0\n", "a whole number was expected"),
        (b"1\n0x10\n", "a number was expected"),
        (b"1\n" + b"9" * 100_000, "a line of one number was expected"),
        (b"PK\x03\x04" + bytes(20), "a zip archive, as PyTorch writes it"),
        (b"<!DOCTYPE html>", "a web page"),
        (struct.pack(">iid", 3, 1, 2.0), "the byte order of another kind of machine"),
    ],
)
def test_sentence_says_what_was_found_and_where(t7: Path, data: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(t7, data)


def test_file_of_pytorch(t7: Path) -> None:
    saved = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, saved)
    with pytest.raises(UserError, match="as PyTorch writes it"):
        read(t7, saved.getvalue())


def test_file_of_a_32_bit_machine(t7: Path) -> None:
    """The same tensor with longs of four bytes."""
    name, version = b"torch.FloatTensor", b"V 1"
    head = pack_integers(4, 1, len(version)) + version + pack_integers(len(name)) + name
    with pytest.raises(UserError, match="a 32-bit machine wrote it"):
        read(t7, head + pack_integers(2, 2, 3, 3, 1, 1, 4, 2) + bytes(60))


@FORMATS
def test_classes_that_write_themselves(t7: Path, ascii: bool) -> None:
    with pytest.raises(UserError, match=r"there is a tds\.Hash, which is not supported"):
        read(t7, t7_bytes({"hash": TorchObject("tds.Hash", 3)}, ascii))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_t7(tmp_path / "none.t7")
    with pytest.raises(UserError, match="is no file"):
        read_t7(tmp_path)
    pipe = tmp_path / "pipe.t7"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="is no file"):
        read_t7(pipe)


def test_file_too_large_to_be_one(tmp_path: Path) -> None:
    path = save_t7(tmp_path / "sparse.t7", [1])
    os.truncate(path, 2**40)
    with pytest.raises(UserError, match="files of Torch7 are read up to 17,179,869,184"):
        read_t7(path)
