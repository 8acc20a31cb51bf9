"""The way of values between Lua and Python."""

from collections.abc import Callable
from typing import Any

import lupa.lua51 as lupa
from torch import Tensor, nn

# Lua does not know how large the tensors are that it holds: so many bytes of them, and it looks what is not needed any more.
BYTES_BETWEEN_COLLECTIONS = 32 * 2**20
MOST_TENSOR_BYTES = 4 * 2**30
# Up to here every whole number is a number of Lua.
LARGEST_WHOLE = 2**53


class Handle:
    """A Python object in Lua's hands. Lua can do nothing with it but hand it back."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class TensorHandle(Handle):
    """A tensor in Lua's hands, and how many bytes all of them have together."""

    __slots__ = ("_bytes",)

    def __init__(self, held: Tensor, all_bytes: list[int]) -> None:
        super().__init__(held)
        self._bytes = all_bytes
        all_bytes[0] += held.nbytes

    def __del__(self) -> None:
        self._bytes[0] -= self.held.nbytes


class Values:
    """Turns what comes from one side into what the other one has for it. `module_of` makes modules of objects of nn."""

    # What Lua gives Python of our functions there.
    parts: Any

    def __init__(self, lua: lupa.LuaRuntime, module_of: Callable[[Any], nn.Module]) -> None:
        self.lua = lua
        self._module_of = module_of
        self._wrapped_bytes = 0
        self._held_bytes = [0]

    def to_lua(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            self._collect_now_and_then(value)
            return self.parts.wrap(TensorHandle(value, self._held_bytes))
        if isinstance(value, list | tuple):
            return self.lua.table_from([self.to_lua(part) for part in value])
        if isinstance(value, dict):
            return self.lua.table_from({key: self.to_lua(part) for key, part in value.items()})
        if value is None or isinstance(value, bool | int | float | str) or lupa.lua_type(value):
            return value
        return Handle(value)

    def _collect_now_and_then(self, tensor: Tensor) -> None:
        self._wrapped_bytes += tensor.nbytes
        if self._wrapped_bytes > BYTES_BETWEEN_COLLECTIONS:
            self._wrapped_bytes = 0
            # What Lua gives up in the first turn Python gets back in the second.
            self.parts.collect()
            self.parts.collect()
            if self._held_bytes[0] > MOST_TENSOR_BYTES:
                raise ValueError(f"the tensors in Lua take more than {MOST_TENSOR_BYTES // 2**30} GB")

    def to_python(self, value: Any) -> Any:
        """A tensor for a tensor, a list for a sequence, a module for an object of nn, a function for a function."""
        kind = lupa.lua_type(value)
        if kind == "table":
            return self._table_to_python(value)
        if kind == "function":
            return lambda *arguments: self.to_python(value(*map(self.to_lua, arguments)))
        held = self.parts.unwrap(value) if kind == "userdata" else value
        if isinstance(held, Handle):
            return held.held
        is_whole = isinstance(held, float) and held.is_integer() and abs(held) <= LARGEST_WHOLE
        return int(held) if is_whole else held

    def _table_to_python(self, table: Any) -> Any:
        if self.parts.number(table) is not None:
            return self._module_of(table)
        keys = list(table.keys())
        if all(isinstance(key, int) for key in keys) and sorted(keys) == list(range(1, len(keys) + 1)):
            return [self.to_python(table[key]) for key in range(1, len(keys) + 1)]
        return {str(key): self.to_python(part) for key, part in table.items()}
