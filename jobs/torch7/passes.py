"""Modules that Lua itself runs, as a class of the text's own may do with those inside it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import lupa.lua51 as lupa
import torch
from torch import Tensor, nn
from torch.nn import Parameter

from jobs.torch7.own_class import tensors_of
from jobs.torch7.values import Handle

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime


@dataclass
class PendingGradients:
    """Of a module that Lua runs forward and backward itself: its last forward pass, and the last gradients through it."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    # The values of the inputs and of the gradients then. Lua may have written others over them since.
    given: list[Tensor]
    gradients: list[Tensor] = field(default_factory=list)
    of_inputs: list[Tensor] = field(default_factory=list)
    of_parameters: list[tuple[Parameter, Tensor]] = field(default_factory=list)


class Passes:
    """A module's way forward and back in PyTorch, when Lua calls its functions one by one."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime

    def lua_update_output(self, lua_object: Any, given: Any) -> Any:
        output = self._run(lua_object, given)
        return self._runtime.to_lua(
            [part.detach() for part in output] if isinstance(output, list | tuple) else output.detach()
        )

    def _run(self, lua_object: Any, given: Any) -> Any:
        module = self._runtime.objects.python_module(lua_object)
        module.train(bool(lua_object["train"]))
        inputs = tensors_of(self._runtime.to_python(given))
        leaves = [tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in inputs]
        with torch.enable_grad():
            output = module(leaves[0] if lupa.lua_type(given) != "table" else leaves)
        seen = [tensor.detach().clone() for tensor in inputs]
        self._runtime.parts.set_pending(lua_object, Handle(PendingGradients(leaves, tensors_of(output), seen)))
        return output

    def lua_update_grad_input(self, lua_object: Any, given: Any, gradient: Any) -> Any:
        of_inputs = self._gradients_through(lua_object, given, gradient).of_inputs
        return self._runtime.to_lua(of_inputs if lupa.lua_type(given) == "table" else of_inputs[0])

    def lua_acc_grad_parameters(self, lua_object: Any, given: Any, gradient: Any, scale: float) -> None:
        if self._pending(lua_object) is None:
            # Of a class of the text's own, with nothing to learn.
            return
        for parameter, part in self._gradients_through(lua_object, given, gradient).of_parameters:
            self._runtime.gradients.of(parameter).add_(part, alpha=scale)

    def _gradients_through(self, lua_object: Any, given: Any, gradient: Any) -> PendingGradients:
        """A pass forward of this input and back of this gradient: the last ones, or new ones where these were of others.

        So a module may run forward several times before it runs backward, as over the steps of a sequence. What chance
        dropped in a pass that is not the last is drawn anew.
        """
        pending = self._pending(lua_object)
        if pending is None:
            self._refuse_to_go_back(lua_object)
        elif not _are_equal(pending.given, tensors_of(self._runtime.to_python(given))):
            self._run(lua_object, given)
        pending = self._pending(lua_object)
        assert pending is not None
        gradients = tensors_of(self._runtime.to_python(gradient))
        if not _are_equal(pending.gradients, gradients):
            self._go_back(lua_object, pending, gradients)
        return pending

    def _go_back(self, lua_object: Any, pending: PendingGradients, gradients: list[Tensor]) -> None:
        parameters = [
            parameter
            for parameter in self._runtime.objects.python_module(lua_object).parameters()
            if parameter.requires_grad
        ]
        wanted = [leaf for leaf in pending.inputs if leaf.requires_grad]
        found = torch.autograd.grad(pending.outputs, [*wanted, *parameters], gradients, True, allow_unused=True)
        pending.gradients = [tensor.detach().clone() for tensor in gradients]
        pending.of_inputs = [
            torch.zeros_like(leaf) if part is None else part for leaf, part in zip(wanted, found, strict=False)
        ]
        pending.of_parameters = [
            (parameter, part)
            for parameter, part in zip(parameters, found[len(wanted) :], strict=True)
            if part is not None
        ]

    def _refuse_to_go_back(self, lua_object: Any) -> NoReturn:
        name = self._runtime.parts.typename(lua_object)
        if self._runtime.parts.handle(lua_object) is None and self._runtime.parts.known_ancestor(lua_object) is None:
            raise ValueError(
                f"{name} has no updateGradInput: define function {name}:updateGradInput(input, gradOutput) for it"
            )
        raise ValueError(f"{name}:updateGradInput is called before updateOutput")

    def _pending(self, lua_object: Any) -> PendingGradients | None:
        handle = self._runtime.parts.pending(lua_object)
        return None if handle is None else handle.held

    def lua_criterion_output(self, handle: Handle, output: Any, target: Any) -> float:
        with torch.no_grad():
            return float(_inherited(handle)(self._runtime.to_python(output), self._runtime.to_python(target)))

    def lua_criterion_gradient(self, handle: Handle, output: Any, target: Any) -> Any:
        outputs = [tensor.detach().requires_grad_() for tensor in tensors_of(self._runtime.to_python(output))]
        is_table = lupa.lua_type(output) == "table"
        with torch.enable_grad():
            loss = _inherited(handle)(outputs if is_table else outputs[0], self._runtime.to_python(target))
        found = [self._runtime.to_lua(part) for part in torch.autograd.grad(loss, outputs)]
        return self._runtime.lua.table_from(found) if is_table else found[0]


def _are_equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def _inherited(handle: Handle | None) -> nn.Module:
    """The criterion that a class of the text inherits from."""
    if handle is None:
        raise ValueError("a criterion needs updateOutput(input, target) and updateGradInput(input, target); where it "
                         "inherits them, call the parent's __init(self, ...) first")  # fmt: skip
    criterion: nn.Module = handle.held
    return criterion
