"""What a text keeps in Lua beside its weights, such as counters in hooks: taken for a snapshot, and put back from it."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime

# Of one tensor. What is larger is what a module computed last, far more often than what it has to remember.
MOST_NUMBERS = 2**22
# Where in a node's list its kind and its name stand, and how long the list is before its parts.
WHAT, PATH, IS_TOO_LARGE = 0, 1, 2


class KeptInLua:
    """Looks through everything that a network's functions and objects reach: numbers, strings, tables and tensors.

    `fields` is what the text returned, by its names. Functions and objects of nn cannot be kept: those of the text stay,
    and what is new in a later moment is `lost`.
    """

    def __init__(self, runtime: "Runtime", fields: dict[str, Any], parts: list[nn.Module]) -> None:
        self._runtime = runtime
        self._kept = runtime.parts.kept
        self._root = runtime.lua.table_from({**fields, "globals": runtime.parts.world})
        self._parts = parts
        self._first = self._moment()
        self._first_versions: MutableMapping[Tensor, int] = WeakTensorKeyDictionary(
            {tensor: tensor._version for tensor in self._tensors(self._first["nodes"]).values()}
        )

    def take(self) -> dict[str, Any]:
        """As plain values and tensors."""
        now = self._moment()
        tensors = {
            number: tensor for number, tensor in self._tensors(now["nodes"]).items() if tensor.numel() <= MOST_NUMBERS
        }
        return {
            "nodes": self._lists(now),
            # Where it is comes with it: torch moves all to one device when it reads them.
            "tensors": {
                number: {"values": _copy(tensor), "on": tensor.device.type} for number, tensor in tensors.items()
            },
            "parts": _parts(tensors),
            "modules": {number: _copies(module) for number, module in self._modules(now["nodes"]).items()},
        }

    def put_back(self, taken: dict[str, Any]) -> None:
        """Make it what it was when `take` was asked, here or in another run of the same text."""
        table = self._runtime.lua.table_from
        lists = table([table(node) for node in taken["nodes"]])
        match = self._call("matched", lists, self._moment())
        tensors = dict(self._call("tensors_in", match).items())
        for number, saved in taken["tensors"].items():
            values = saved["values"].cpu() if saved["on"] == "cpu" else saved["values"]
            if number in tensors:
                _set(self._runtime.to_python(tensors[number]), values)
            else:
                tensors[number] = self._runtime.to_lua(values.clone())
        # Older snapshots do not say which tensors were parts of others.
        for number, (whole, begin, *strides) in taken.get("parts", {}).items():
            _make_part(
                self._runtime.to_python(tensors[number]), self._runtime.to_python(tensors[whole]), begin, strides
            )
        self._call("put_back", self._call("from_lists", lists, match, table(tensors)))
        for number, module in self._modules(match).items():
            if number in taken["modules"]:
                module.load_state_dict(taken["modules"][number])

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Whatever runs in Lua meanwhile leaves it as it was."""
        before = self._moment()
        tensors = [tensor for tensor in self._tensors(before["nodes"]).values() if tensor.numel() <= MOST_NUMBERS]
        of_tensors = [(tensor, _copy(tensor)) for tensor in tensors]
        of_modules = [(module, _copies(module)) for module in self._modules(before["nodes"]).values()]
        try:
            yield
        finally:
            self._call("put_back", before)
            for tensor, values in of_tensors:
                _set(tensor, values)
            for module, state in of_modules:
                module.load_state_dict(state)

    def lost(self) -> list[str]:
        """What is kept now and would not come with a snapshot, by its names."""
        now = self._moment()
        lists = self._lists(now)
        missing = self._call("missing", self._call("as_lists", now), self._first).values()
        found = [f"{lists[number - 1][PATH]} ({_kind(lists[number - 1])})" for number in missing]
        found += [
            f"{lists[number - 1][PATH]} (a tensor of {tensor.numel():,} numbers)"
            for number, tensor in self._tensors(now["nodes"]).items()
            if tensor.numel() > MOST_NUMBERS and self._first_versions.get(tensor) != tensor._version
        ]
        return sorted(found)

    def _moment(self) -> Any:
        return self._call("moment", self._root)

    def _call(self, name: str, *arguments: Any) -> Any:
        return self._runtime.call(self._kept[name], *arguments)

    def _lists(self, now: Any) -> list[list[Any]]:
        lists = self._call("as_lists", now)
        return [_as_list(lists[number]) for number in range(1, len(lists) + 1)]

    def _tensors(self, nodes: Any) -> dict[int, Tensor]:
        """Those that are no weights, buffers or gradients, nor parts of them, by their nodes' numbers."""
        parts = [tensor for module in self._modules_of_network() for tensor in _weights_of(module)]
        places = {part.untyped_storage().data_ptr() for part in parts}
        found = {number: self._runtime.to_python(value) for number, value in self._call("tensors_in", nodes).items()}
        return {
            number: tensor
            for number, tensor in found.items()
            if not tensor.numel() or tensor.untyped_storage().data_ptr() not in places
        }

    def _modules(self, nodes: Any) -> dict[int, nn.Module]:
        """Those that the text runs itself, by the numbers of their nodes: the network's own come with its weights."""
        of_network = set(self._modules_of_network())
        found = {number: handle.held for number, handle in self._call("modules_in", nodes).items()}
        return {number: module for number, module in found.items() if module not in of_network}

    def _modules_of_network(self) -> Iterator[nn.Module]:
        for part in self._parts:
            yield from part.modules()


def _weights_of(module: nn.Module) -> Iterator[Tensor]:
    for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        yield tensor
        if tensor.grad is not None:
            yield tensor.grad


def _copies(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _copy(tensor: Tensor) -> Tensor:
    """Of its own numbers alone, not of all those that it is a part of."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _parts(tensors: dict[int, Tensor]) -> dict[int, list[int]]:
    """Those that are parts of another, or see its numbers another way: its number, where they begin in it, their strides."""
    wholes: dict[int, int] = {}
    for number, tensor in sorted(tensors.items(), key=lambda found: found[1].numel(), reverse=True):
        if tensor.is_contiguous():
            wholes.setdefault(tensor.untyped_storage().data_ptr(), number)
    parts = {}
    for number, tensor in tensors.items():
        place = wholes.get(tensor.untyped_storage().data_ptr(), number)
        whole = tensors[place]
        begin = tensor.storage_offset() - whole.storage_offset()
        last = begin + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        is_within = tensor.numel() > 0 and begin >= 0 and last < whole.numel()
        if place != number and is_within and tensor.dtype == whole.dtype:
            parts[number] = [place, int(begin), *map(int, tensor.stride())]
    return parts


def _make_part(tensor: Tensor, whole: Tensor, begin: int, strides: list[int]) -> None:
    """Let a tensor be that part of the other, which has its numbers, too."""
    if whole.is_contiguous():
        with torch.no_grad():
            tensor.set_(whole.untyped_storage(), whole.storage_offset() + begin, tensor.shape, strides)


def _set(tensor: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        if tensor.shape == values.shape:
            for dimension, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
                if size > 1 and stride == 0:
                    # Expanded: each number is there once.
                    tensor, values = (part.narrow(dimension, 0, 1) for part in (tensor, values))
            tensor.copy_(values)
        else:
            new = values.to(tensor.device, copy=True)
            tensor.set_(new.untyped_storage(), 0, new.shape, new.stride())


def _as_list(table: Any) -> list[Any]:
    found = dict(table.items())
    return [found[place] for place in range(1, len(found) + 1)]


def _kind(node: list[Any]) -> str:
    if node[IS_TOO_LARGE]:
        return "a table of very many values"
    return "a function" if node[WHAT].startswith("function") else "a module"
