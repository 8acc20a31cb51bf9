"""What Python's values hold, as tensors and plain values, and put back into them: containers, arrays, random generators.

Values become a list of nodes, each a dictionary that says what it is. A part of one is a plain value, a tuple of such or
`[number of a node]`, so that what is reached on two ways is one thing again.
"""

import math
import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice, zip_longest
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

Node = dict[str, Any]
Part = Any

# By their ids: what a class is equal to, and whether it has a hash, a person's own class of classes may decide.
SCALARS = frozenset(map(id, (int, float, bool, str, type(None))))
# Larger ones are written as text: what reads snapshots takes none of thousands of digits.
LARGEST_INT = 2**63
# What a defaultdict can make, by names.
FACTORIES: dict[str, Callable[[], Any] | None] = {
    "none": None, "int": int, "float": float, "list": list, "dict": dict, "set": set, "bool": bool, "str": str,
}  # fmt: skip
BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64)
}
# Of each list, tuple and dictionary in a variable; of no more than these are the parts looked at.
MOST_SHARED = 1000
# Booleans, numbers, texts and times.
KINDS_OF_ARRAYS = "biufcSUmM"


class CannotBeKept(Exception):
    """A value that tensors and plain values cannot say, such as a function or an object of somebody's class."""


class TooMany(CannotBeKept):
    """A value that consists of more than is allowed."""


class Owned:
    """Modules, parameters and buffers by their names. A snapshot holds these in its own way: here they are named only."""

    def __init__(self, modules: Iterable[tuple[str, nn.Module]]) -> None:
        self.by_name: dict[str, Any] = {}
        self._storages: dict[int, str] = {}
        for name, module in modules:
            self.by_name[name] = module
            for key, tensor in [*module._parameters.items(), *module._buffers.items()]:
                if tensor is not None:
                    self.by_name[f"{name}.{key}"] = tensor
                    if _is_plain_tensor(tensor) and tensor.numel():
                        self._storages.setdefault(place_of(tensor), f"{name}.{key}")
        self._names = {id(value): name for name, value in self.by_name.items()}

    def name_of(self, value: Any) -> str | None:
        return self._names.get(id(value))

    def whose_numbers(self, tensor: Tensor) -> str | None:
        """The name of the parameter or buffer that has the same numbers, or more, in memory."""
        return self._storages.get(place_of(tensor)) if tensor.numel() else None

    def has(self, value: Any) -> bool:
        """Whether it is one of them, or sees the numbers of one."""
        return self.name_of(value) is not None or (_is_plain_tensor(value) and self.whose_numbers(value) is not None)


class Shared:
    """Values that are reached from elsewhere, too, such as a list in a global, by the names that they have in each run."""

    def __init__(self, variables: Mapping[str, list[Any]] = MappingProxyType({})) -> None:
        self.by_name: dict[str, Any] = {}
        for name, values in variables.items():
            self._add(name, values, depth=2)
        self._names: dict[int, str] = {}
        for name, value in self.by_name.items():
            self._names.setdefault(_place(value), name)

    def _add(self, name: str, values: Any, depth: int) -> None:
        pairs = values.items() if type(values) is dict else enumerate(values)
        for key, value in islice(pairs, MOST_SHARED):
            self.by_name[f"{name}/{key}"] = value
            if depth and WHAT.get(id(type(value))) in ("list", "tuple", "dict") and len(self.by_name) < MOST_SHARED:
                self._add(f"{name}/{key}", value, depth - 1)

    def name_of(self, value: Any) -> str | None:
        return self._names.get(_place(value))


def _place(value: Any) -> int:
    if _is_plain_tensor(value) and value.numel():
        return place_of(value)
    return _address(value) if type(value) is np.ndarray and value.size else id(value)


def place_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _is_plain_tensor(value: Any) -> bool:
    return (
        (type(value) is Tensor or type(value) is nn.Parameter)
        and (value.layout, value.is_nested) == (torch.strided, False)
        and value.device.type in ("cpu", "cuda")
        # One that was seen within `torch.vmap` has none.
        and torch._C._has_storage(value)
    )


def _is_short(value: Any) -> bool:
    return type(value) is not int or -LARGEST_INT < value < LARGEST_INT


def _are_scalars(values: Collection[Any]) -> bool:
    """Fast: there may be millions."""
    kinds = set(map(id, map(type, values)))
    return kinds <= SCALARS and (id(int) not in kinds or all(map(_is_short, values)))


class Taker:
    """Writes values down, each of `most` nodes at most. Without `copies` it only finds out what can be, of larger ones from
    their first parts."""

    def __init__(self, owned: Owned, shared: Shared | None = None, copies: bool = True, most: float = math.inf) -> None:
        self.nodes: list[Node] = []
        self._most = most
        self._begin = 0
        self._shared = shared or Shared()
        self.owned = owned
        self.copies = copies
        self._values: list[Any] = []
        self._numbers: dict[int, int] = {}
        # Whose parts are being taken: nothing that cannot change contains itself.
        self._open: set[int] = set()

    def take_or_raise(self, value: Any) -> Part:
        """The value as a part; CannotBeKept, and nothing is written down."""
        begin = self._begin = len(self.nodes)
        try:
            return self.part(value)
        except (CannotBeKept, RecursionError) as reason:
            self._open.clear()
            if isinstance(reason, TooMany) and not self.copies:
                return None
            for forgotten in self._values[begin:]:
                del self._numbers[id(forgotten)]
            del self.nodes[begin:], self._values[begin:]
            raise CannotBeKept from None

    def part(self, value: Any) -> Part:
        if id(type(value)) in SCALARS and _is_short(value):
            return value
        if type(value) is tuple and _are_scalars(value):
            return value
        number = self._numbers.get(id(value))
        if number is None:
            return [self._new(value)]
        if number in self._open:
            raise CannotBeKept
        return [number]

    def _new(self, value: Any) -> int:
        name = "owned" if self.owned.name_of(value) is not None else WHAT.get(id(type(value)))
        if name is None:
            raise CannotBeKept
        if len(self.nodes) - self._begin >= self._most:
            raise TooMany
        number = len(self.nodes)
        node: Node = {"is": name, "shared": self._shared.name_of(value)}
        self.nodes.append(node)
        # Kept: no other value gets its id meanwhile.
        self._values.append(value)
        self._numbers[id(value)] = number
        if not KINDS[name].changes:
            self._open.add(number)
        node.update(KINDS[name].take(self, value))
        self._open.discard(number)
        return number

    def has(self, value: Any) -> bool:
        """Whether it comes with a snapshot wherever it is reached: what is put back in its place, and weights."""
        kind = KINDS.get(WHAT.get(id(type(value)), ""))
        is_put_back = kind is not None and (
            kind.changes or kind.make in (put_tensor, _make_array, _make_numpy_generator)
        )
        return (is_put_back and id(value) in self._numbers) or self.owned.has(value)

    def parts(self, values: Collection[Any]) -> list[Part]:
        if _are_scalars(values):
            return list(values)
        return [self.part(value) for value in values]


class Putter:
    """Makes values of what a `Taker` wrote down. What is present is changed in its place: others may hold it, too."""

    def __init__(self, nodes: list[Node], owned: Owned, shared: Shared | None = None) -> None:
        self._nodes = nodes
        self._shared = shared or Shared()
        self._made: dict[int, Any] = {}
        self.owned = owned
        # What of the present ones was taken, by its place or id, and for which node or which of the numbers in memory.
        self._claimed: dict[int, Any] = {}
        self._held: list[Any] = []

    def put(self, part: Part, present: Any = None) -> Any:
        if isinstance(part, Tensor):
            # As older snapshots have them.
            return put_tensor(self, {"values": part, "on": part.device.type, "shared": None}, present)
        if not isinstance(part, list):
            return part
        (number,) = part
        if number not in self._made:
            node = self._nodes[number]
            kind = KINDS[node["is"]]
            # What others hold is changed for them, too, where it was theirs, and only there.
            if self._shared.name_of(present) != node["shared"]:
                present = self._shared.by_name.get(node["shared"])
            if kind.changes:
                usable = WHAT.get(id(type(present))) == node["is"] and self.claim(id(present), number)
                self._made[number] = kind.new(node) if not usable else present
                kind.fill(self, node, self._made[number])
            else:
                self._made[number] = kind.make(self, node, present)
        self._held.append(present)
        return self._made[number]

    def put_all(self, parts: list[Part], present: Sequence[Any]) -> list[Any]:
        if list not in set(map(type, parts)):
            return parts
        return [self.put(part, value) for part, value in zip_longest(parts, islice(present, len(parts)))]

    def claim(self, place: int, by: Any) -> bool:
        """Whether a place is still free, or has been taken by the same before."""
        return bool(self._claimed.setdefault(place, by) == by)


def _nothing_new(node: Node) -> Any:
    raise NotImplementedError


def _nothing_to_make(putter: Putter, node: Node, present: Any) -> Any:
    raise NotImplementedError


def _nothing_to_fill(putter: Putter, node: Node, value: Any) -> None:
    raise NotImplementedError


class Kind(NamedTuple):
    """How values of some types are written down and put back: those that change by `new` and `fill`, others by `make`."""

    types: tuple[type, ...]
    take: Callable[[Taker, Any], Node]
    make: Callable[[Putter, Node, Any], Any] = _nothing_to_make
    new: Callable[[Node], Any] = _nothing_new
    fill: Callable[[Putter, Node, Any], None] = _nothing_to_fill

    @property
    def changes(self) -> bool:
        return self.fill is not _nothing_to_fill


def _take_owned(taker: Taker, value: Any) -> Node:
    return {"name": taker.owned.name_of(value)}


def _make_owned(putter: Putter, node: Node, present: Any) -> Any:
    return putter.owned.by_name.get(node["name"], present)


def _take_parts(taker: Taker, value: Collection[Any]) -> Node:
    return {"parts": taker.parts(value)}


def _fill_sequence(putter: Putter, node: Node, value: Any) -> None:
    parts = putter.put_all(node["parts"], value)
    value.clear()
    value.extend(parts)


def _make_tuple(putter: Putter, node: Node, present: Any) -> tuple[Any, ...]:
    return tuple(putter.put_all(node["parts"], present if type(present) is tuple else ()))


def _take_deque(taker: Taker, value: deque[Any]) -> Node:
    return {"parts": taker.parts(value), "longest": value.maxlen}


def _fill_set(putter: Putter, node: Node, value: set[Any]) -> None:
    value.clear()
    value.update(putter.put(part) for part in node["parts"])


def _take_mapping(taker: Taker, value: dict[Any, Any]) -> Node:
    return {"parts": [[taker.part(key), taker.part(kept)] for key, kept in value.items()]}


def _take_default(taker: Taker, value: defaultdict[Any, Any]) -> Node:
    names = [name for name, factory in FACTORIES.items() if factory is value.default_factory]
    if not names:
        raise CannotBeKept
    return {**_take_mapping(taker, value), "makes": names[0]}


def _fill_mapping(putter: Putter, node: Node, value: dict[Any, Any]) -> None:
    before = dict(value)
    value.clear()
    for key_part, part in node["parts"]:
        key = putter.put(key_part)
        value[key] = putter.put(part, before.get(key))


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0, dtype=torch.uint8)


def _as_bytes(tensor: Tensor) -> bytes:
    return tensor.cpu().numpy().tobytes()


def _take_bytes(taker: Taker, value: bytes | bytearray) -> Node:
    return {"bytes": _as_tensor(bytes(value)) if taker.copies else None}


def _fill_bytes(putter: Putter, node: Node, value: bytearray) -> None:
    value[:] = _as_bytes(node["bytes"])


def _take_tensor(taker: Taker, value: Tensor) -> Node:
    if not _is_plain_tensor(value) or is_computed(value):
        raise CannotBeKept
    whole = taker.owned.whose_numbers(value)
    if whole is not None and taker.owned.by_name[whole].dtype == value.dtype:
        return {
            "of": whole,
            "shape": list(value.shape),
            "strides": list(value.stride()),
            "begin": value.storage_offset(),
        }
    return {
        "values": value.detach().clone() if taker.copies else None,
        # torch moves all to one device when it reads a snapshot.
        "on": value.device.type,
        "learns": value.requires_grad,
        "is_parameter": isinstance(value, nn.Parameter),
        # Which tensors are parts of the same numbers.
        "numbers": place_of(value) if value.numel() else None,
    }


def is_computed(value: Any) -> bool:
    """Whether gradients flow through it: it was computed of weights, and is computed anew in each pass."""
    if type(value) is not Tensor or not value.requires_grad:
        return False
    try:
        return not value.is_leaf
    except RuntimeError:
        # A part of a layer's output that was written over.
        return True


def put_tensor(putter: Putter, node: Node, present: Any) -> Any:
    if "of" in node:
        return _part_of_weights(putter.owned.by_name.get(node["of"]), node, present)
    values: Tensor = node["values"]
    with torch.no_grad():
        if _can_be_written(putter, node, present):
            present.copy_(values)
            return present
        new = values.cpu() if node["on"] == "cpu" else values
        new = new.clone()
    if node.get("is_parameter"):
        return nn.Parameter(new, requires_grad=node["learns"])
    return new.requires_grad_(node.get("learns", False))


def _can_be_written(putter: Putter, node: Node, present: Any) -> bool:
    """Whether a tensor that is there can take the values, and nothing else changes that is not to."""
    values: Tensor = node["values"]
    return (
        _is_plain_tensor(present)
        and not present.is_inference()
        # What a layer gave may not be written over.
        and not is_computed(present)
        and (present.shape, present.dtype) == (values.shape, values.dtype)
        # An expanded one has each number once.
        and not any(size > 1 and stride == 0 for size, stride in zip(present.shape, present.stride(), strict=True))
        and putter.owned.whose_numbers(present) is None
        and (not present.numel() or putter.claim(place_of(present), ("numbers", node.get("numbers"))))
    )


def _part_of_weights(whole: Tensor | None, node: Node, present: Any) -> Any:
    """What is there stays where the network has no such weights or buffer now, or smaller ones."""
    try:
        seen = None if whole is None else whole.detach().as_strided(node["shape"], node["strides"], node["begin"])
    except RuntimeError:
        seen = None
    if seen is None:
        return present
    return present if _is_plain_tensor(present) and _geometry(present) == _geometry(seen) else seen


def _geometry(tensor: Tensor) -> tuple[Any, ...]:
    return place_of(tensor), tensor.shape, tensor.stride(), tensor.storage_offset()


def _take_array(taker: Taker, value: "np.ndarray[Any, Any]") -> Node:
    if value.dtype.kind not in KINDS_OF_ARRAYS or not value.dtype.itemsize:
        raise CannotBeKept
    order: Literal["C", "F"] = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    return {
        "bytes": _as_tensor(value.tobytes(order)) if taker.copies else None,
        "dtype": value.dtype.str,
        "shape": list(value.shape),
        "order": order,
        "numbers": _address(value),
    }


def _address(array: "np.ndarray[Any, Any]") -> int:
    """Of all that it is a part of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return int(array.__array_interface__["data"][0])


def _make_array(putter: Putter, node: Node, present: Any) -> Any:
    values = np.ndarray(
        node["shape"], np.dtype(node["dtype"]), bytearray(_as_bytes(node["bytes"])), order=node["order"]
    )
    if (
        type(present) is np.ndarray
        and present.flags.writeable
        and (present.shape, present.dtype) == (values.shape, values.dtype)
        and putter.claim(_address(present), ("numbers", node["numbers"]))
    ):
        present[...] = values
        return present
    return values


def _take_numpy_scalar(taker: Taker, value: np.generic) -> Node:
    return _take_array(taker, np.asarray(value))


def _make_numpy_scalar(putter: Putter, node: Node, present: Any) -> Any:
    return _make_array(putter, node, None)[()]


def _take_python_random(taker: Taker, value: random.Random) -> Node:
    version, words, gauss = value.getstate()
    return {"version": version, "words": torch.tensor(words), "gauss": gauss}


def _fill_python_random(putter: Putter, node: Node, value: random.Random) -> None:
    value.setstate((node["version"], tuple(node["words"].tolist()), node["gauss"]))


def _take_bits(taker: Taker, value: np.random.BitGenerator) -> Node:
    return {"bits": type(value).__name__, "state": taker.part(value.state)}


def _make_bits(putter: Putter, node: Node, present: Any) -> np.random.BitGenerator:
    kind = BIT_GENERATORS[node["bits"]]
    generator = present if type(present) is kind and putter.claim(id(present), id(node)) else kind()
    generator.state = putter.put(node["state"])
    return generator


def _take_numpy_generator(taker: Taker, value: np.random.Generator) -> Node:
    return {"generator": taker.part(value.bit_generator)}


def _make_numpy_generator(putter: Putter, node: Node, present: Any) -> np.random.Generator:
    before = present.bit_generator if type(present) is np.random.Generator else None
    bits = putter.put(node["generator"], before)
    return present if bits is before else np.random.Generator(bits)


def _take_numpy_state(taker: Taker, value: np.random.RandomState) -> Node:
    state = value.get_state(legacy=False)
    # NumPy puts back no others.
    if not isinstance(state, dict) or state["bit_generator"] != "MT19937":
        raise CannotBeKept
    return {"state": taker.part(state)}


def _fill_numpy_state(putter: Putter, node: Node, value: np.random.RandomState) -> None:
    value.set_state(putter.put(node["state"]))


def _take_torch_generator(taker: Taker, value: torch.Generator) -> Node:
    return {"on": value.device.type, "state": value.get_state()}


def _fill_torch_generator(putter: Putter, node: Node, value: torch.Generator) -> None:
    # One of a GPU cannot go on where a processor draws.
    if value.device.type == node["on"]:
        value.set_state(node["state"].cpu())


KINDS: dict[str, Kind] = {
    "owned": Kind((), _take_owned, make=_make_owned),
    "int": Kind((int,), lambda taker, value: {"text": hex(value)}, make=lambda putter, node, _: int(node["text"], 16)),
    "complex": Kind(
        (complex,),
        lambda taker, value: {"parts": [value.real, value.imag]},
        make=lambda putter, node, _: complex(*node["parts"]),
    ),
    "list": Kind((list,), _take_parts, new=lambda node: [], fill=_fill_sequence),
    "deque": Kind((deque,), _take_deque, new=lambda node: deque(maxlen=node["longest"]), fill=_fill_sequence),
    "tuple": Kind((tuple,), _take_parts, make=_make_tuple),
    "size": Kind((torch.Size,), _take_parts, make=lambda putter, node, _: torch.Size(node["parts"])),
    "set": Kind((set,), _take_parts, new=lambda node: set(), fill=_fill_set),
    "frozenset": Kind(
        (frozenset,), _take_parts, make=lambda putter, node, _: frozenset(map(putter.put, node["parts"]))
    ),
    "dict": Kind((dict,), _take_mapping, new=lambda node: {}, fill=_fill_mapping),
    "ordered dict": Kind((OrderedDict,), _take_mapping, new=lambda node: OrderedDict(), fill=_fill_mapping),
    "counter": Kind((Counter,), _take_mapping, new=lambda node: Counter(), fill=_fill_mapping),
    "default dict": Kind(
        (defaultdict,), _take_default, new=lambda node: defaultdict(FACTORIES[node["makes"]]), fill=_fill_mapping
    ),
    "bytes": Kind((bytes,), _take_bytes, make=lambda putter, node, _: _as_bytes(node["bytes"])),
    "bytearray": Kind((bytearray,), _take_bytes, new=lambda node: bytearray(), fill=_fill_bytes),
    "tensor": Kind((Tensor, nn.Parameter), _take_tensor, make=put_tensor),
    "array": Kind((np.ndarray,), _take_array, make=_make_array),
    "number of numpy": Kind(
        tuple({kind for kind in np.sctypeDict.values() if np.dtype(kind).kind in KINDS_OF_ARRAYS}),
        _take_numpy_scalar,
        make=_make_numpy_scalar,
    ),
    "random": Kind((random.Random,), _take_python_random, new=lambda node: random.Random(), fill=_fill_python_random),  # noqa: S311  no secrets
    "bits of numpy": Kind(tuple(BIT_GENERATORS.values()), _take_bits, make=_make_bits),
    "generator of numpy": Kind((np.random.Generator,), _take_numpy_generator, make=_make_numpy_generator),
    "state of numpy": Kind(
        (np.random.RandomState,),
        _take_numpy_state,
        new=lambda node: np.random.RandomState(),
        fill=_fill_numpy_state,
    ),
    "generator of torch": Kind(
        (torch.Generator,),
        _take_torch_generator,
        new=lambda node: torch.Generator(node["on"]),
        fill=_fill_torch_generator,
    ),
}
WHAT = {id(kind): name for name, row in KINDS.items() for kind in row.types}
