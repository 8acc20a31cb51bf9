"""What a text asks of tensors."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.nn import Parameter

from jobs.torch7.tensor_arithmetic import OPERATIONS
from jobs.torch7.tensors import TENSOR_METHODS, TORCH_FUNCTIONS, text_of

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime


class TensorCommands:
    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime

    def lua_random_number(self, low: float | None = None, high: float | None = None) -> float:
        """math.random, from the generator that the training's seed sets."""
        if low is None:
            return float(torch.rand(()).item())
        first, last = (1, int(low)) if high is None else (int(low), int(high))
        if first > last:
            raise ValueError("random: the interval is empty")
        return int(torch.randint(first, last + 1, ()).item())

    def lua_has_tensor_method(self, name: str) -> bool:
        return name in TENSOR_METHODS

    def lua_has_torch_function(self, name: str) -> bool:
        return name in TORCH_FUNCTIONS

    def lua_tensor_method(self, name: str, *arguments: Any) -> Any:
        if self._runtime.history is not None:
            self._runtime.history.tensor_method(name, [*map(self._runtime.to_python, arguments)])
        result = self._computed(TENSOR_METHODS[name], arguments)
        if name == "set":
            tensor, source = map(self._runtime.to_python, arguments)
            if isinstance(tensor, Parameter) and source is not tensor:
                self._runtime.shared.set(tensor, source)
        return result

    def lua_torch_function(self, name: str, *arguments: Any) -> Any:
        return self._computed(TORCH_FUNCTIONS[name], arguments)

    def lua_tensor_operation(self, name: str, *arguments: Any) -> Any:
        return self._computed(OPERATIONS[name], arguments)

    def lua_tensor_get(self, *arguments: Any) -> Any:
        return self._computed(TENSOR_METHODS["get_item"], arguments)

    def lua_tensor_set(self, *arguments: Any) -> Any:
        return self._computed(TENSOR_METHODS["set_item"], arguments)

    def lua_tensor_text(self, tensor: Any) -> str:
        return text_of(self._runtime.to_python(tensor))

    def _computed(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        given = [*map(self._runtime.to_python, arguments)]
        with torch.no_grad(), _weights_may_change(given):
            result = function(*given)
        if isinstance(result, tuple):
            return tuple(map(self._runtime.to_lua, result))
        return self._runtime.to_lua(result)


def _weights_may_change(given: Sequence[Any]) -> AbstractContextManager[Any]:
    """Autograd does not mind that weights change between the passes of a step, as Torch7 does not."""
    owners = [part if part._base is None else part._base for part in given if isinstance(part, Tensor)]
    weights = tuple(owner for owner in owners if isinstance(owner, Parameter))
    return _unsafe_preserve_version_counter(weights) if weights else nullcontext()
