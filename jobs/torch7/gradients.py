"""Gradients as Lua finds them, beside those that PyTorch's backward pass makes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.weak import WeakTensorKeyDictionary

from jobs.torch7.history import Flattened
from jobs.torch7.own_class import LuaModule

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime


class Gradients:
    """Where Lua finds the gradient of each parameter, and what a label hook adds there."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        # Once the network is complete: its parameters, and what a label hook adds to their gradients.
        self._trained: WeakTensorKeyDictionary | None = None
        self._added = WeakTensorKeyDictionary()
        self._is_in_label_hook = False

    def begin_training(self, network: nn.Module) -> None:
        """The training begins without gradients; what Lua has of them is its own from now on."""
        self._trained = WeakTensorKeyDictionary(dict.fromkeys(network.parameters(), True))
        for parameter in network.parameters():
            parameter.grad = None

    def of(self, parameter: Parameter) -> Tensor:
        """Where Lua finds a gradient, and adds to it.

        When a label hook runs, those of the network are zero, and what it adds there counts with what backward gives.
        """
        if self._is_in_label_hook and self._trained is not None and parameter in self._trained:
            if parameter not in self._added:
                self._added[parameter] = torch.zeros_like(parameter)
                self._add_in_backward(parameter, self._added[parameter])
            added: Tensor = self._added[parameter]
            return added
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        return parameter.grad

    def _add_in_backward(self, parameter: Parameter, added: Tensor) -> None:
        parameter.register_hook(lambda gradient: gradient + added)  # type: ignore[no-untyped-call]

    @contextmanager
    def label_hook(self) -> Iterator[None]:
        """What runs in Lua meanwhile runs between a step's forward pass and its backward pass."""
        for added in self._added.values():  # type: ignore[no-untyped-call]
            added.zero_()
        self._is_in_label_hook = True
        try:
            yield
        finally:
            self._is_in_label_hook = False

    def lua_flatten(self, lua_object: Any) -> tuple[Any, Any]:
        """All parameters in one tensor, of which they are parts from now on; and one for their gradients."""
        network = self._runtime.objects.module_of(lua_object)
        self._runtime.shared.join(network)
        parameters = [parameter for parameter in network.parameters() if parameter not in self._runtime.objects.unnamed]
        if not parameters:
            return self._runtime.to_lua(torch.zeros(0)), self._runtime.to_lua(torch.zeros(0))
        flat = _in_one([parameter.data for parameter in parameters])
        gradients = _in_one([self.of(parameter) for parameter in parameters])
        self._runtime.shared.take(flat, flat)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.data = flat[start:end].view(parameter.shape)
            self._put_gradient(parameter, gradients[start:end].view(parameter.shape))
            start = end
        for part in network.modules():
            if isinstance(part, LuaModule):
                part.bind_parameters()
        if self._runtime.history is not None:
            self._runtime.history.steps.append(Flattened(flat, parameters))
        return self._runtime.to_lua(flat), self._runtime.to_lua(gradients)

    def _put_gradient(self, parameter: Parameter, gradient: Tensor) -> None:
        """Another place for a gradient of the same values."""
        if parameter in self._added:
            self._added[parameter].set_(gradient)
        else:
            parameter.grad = gradient


def _in_one(tensors: Sequence[Tensor]) -> Tensor:
    """All values in one tensor: the one in which they lie one after the other already, or a new one."""
    first, count = tensors[0], sum(tensor.numel() for tensor in tensors)
    storage, place = first.untyped_storage().data_ptr(), first.data_ptr()
    for tensor in tensors:
        if (tensor.untyped_storage().data_ptr(), tensor.data_ptr()) != (storage, place) or not tensor.is_contiguous():
            return torch.cat([part.detach().reshape(-1) for part in tensors])
        place += tensor.nbytes
    return first.as_strided((count,), (1,)).detach()
