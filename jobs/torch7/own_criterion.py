"""Criteria that a text defines: Lua computes the loss and its gradient."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lupa.lua51 as lupa
import torch
from torch import Tensor

from jobs.errors import BadNetwork
from jobs.torch7.module import Criterion
from jobs.torch7.own_class import ComputedInLua, tensors_of

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime


class LuaCriterion(ComputedInLua, Criterion):
    """An object of a class of criteria that the text defines, or one whose functions it replaced."""

    def __init__(self, runtime: "Runtime", lua_object: Any) -> None:
        super().__init__()
        self._runtime = runtime
        self._object = lua_object

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LuaCriterion":
        """Everything that the object keeps moves with the network."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._runtime.move_tensors(self._object, fn)
        inherited = self._runtime.parts.handle(self._object)
        if inherited is not None:
            inherited.held._apply(fn)
        return self

    def forward(self, output: Any, target: Any) -> Tensor:
        return _loss_in_lua(self, output, target, *tensors_of(output))

    def loss_of(self, output: Any, target: Any) -> Tensor:
        loss = self._call("forward", output, target)
        # Some give the loss as a tensor of one value.
        values = tensors_of(loss)
        if values and values[0].numel() == 1:
            return values[0].detach().reshape(()).clone()
        if not isinstance(loss, int | float) or isinstance(loss, bool):
            found = "nothing" if loss is None else lupa.lua_type(loss) or type(loss).__name__
            raise BadNetwork(f"{self.class_name}:updateOutput returns {found}; it must return the loss, one number.")
        return tensors_of(output)[0].new_tensor(float(loss))

    def gradients_of(self, output: Any, target: Any) -> list[Tensor]:
        gradients = tensors_of(self._call("backward", output, target))
        outputs = tensors_of(output)
        if len(gradients) != len(outputs):
            raise BadNetwork(
                f"{self.class_name}:updateGradInput returns {len(gradients)} tensors, and the network has "
                f"{len(outputs)} outputs; it must return a gradient for each."
            )
        for gradient, tensor in zip(gradients, outputs, strict=True):
            if gradient.numel() != tensor.numel():
                raise BadNetwork(
                    f"{self.class_name}:updateGradInput returns {gradient.numel()} values for an output of "
                    f"{tensor.numel()}; it must return a gradient for each value."
                )
        return [gradient.reshape(tensor.shape).clone() for gradient, tensor in zip(gradients, outputs, strict=True)]

    def _call(self, name: str, output: Any, target: Any) -> Any:
        # As nn's criteria: in float32, whatever the network is computed in.
        with torch.autocast(tensors_of(output)[0].device.type, enabled=False):
            called = self._runtime.call(self._object[name], self._object, output, target)
            return self._runtime.to_python(called)


class _LossInLua(torch.autograd.Function):
    """A loss by updateOutput, and its gradient by updateGradInput."""

    @staticmethod
    def forward(ctx: Any, criterion: LuaCriterion, output: Any, target: Any, *tensors: Tensor) -> Tensor:
        # Lua gets what it had, wherever autograd may look.
        ctx.criterion, ctx.output, ctx.target = criterion, _detached(output), _detached(target)
        return criterion.loss_of(ctx.output, ctx.target)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        of_outputs = ctx.criterion.gradients_of(ctx.output, ctx.target)
        return (None, None, None, *(gradient * gradients[0] for gradient in of_outputs))


# Torch leaves it without types.
_loss_in_lua: Callable[..., Tensor] = _LossInLua.apply


def _detached(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_detached(part) for part in value]
    if not isinstance(value, Tensor):
        return value
    return value.detach().float() if value.dtype in (torch.bfloat16, torch.float16) else value.detach()
