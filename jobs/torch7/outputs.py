"""What layers gave last, for texts that ask `layer.output`."""

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime


class Outputs:
    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        # Of those layers that Lua asks.
        self._outputs: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
        self._copies: WeakKeyDictionary[nn.Module, tuple[Any, Any]] = WeakKeyDictionary()

    def lua_output(self, lua_object: Any) -> Any:
        """What a layer gave in the last pass through the network; None before the first."""
        handle = self._runtime.parts.handle(lua_object) or self._runtime.parts.container(lua_object)
        if handle is None:
            return None
        module = handle.held
        self.keep(module)
        output = self._outputs[module]
        if output is None:
            return None
        # A copy, which Lua may change: the backward pass needs the output itself as it is.
        of, copied = self._copies.get(module, (None, None))
        if of is not output:
            copied = tree_map(lambda part: part.clone() if isinstance(part, Tensor) else part, output)
            self._copies[module] = (output, copied)
        return self._runtime.to_lua(copied)

    def keep(self, module: nn.Module) -> None:
        """Note from now on what the module gives."""
        if module in self._outputs:
            return
        outputs = self._outputs
        outputs[module] = None

        # No method of ours: a copy of the module would copy all of Lua with it.
        def note(module: nn.Module, _given: Any, output: Any) -> None:
            outputs[module] = tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, output)

        module.register_forward_hook(note)
