"""Classes of nn that a text defines: Lua computes them, forward and backward."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from jobs.errors import BadNetwork
from jobs.torch7.module import TorchModule
from jobs.torch7.sharing import Part

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime


class ComputedInLua(TorchModule):
    """What the text's own modules and criteria share: they are objects of Lua, and its class says what they are."""

    # What its code does with values and tensors of its own, a recording of a step would not see.
    capturable = False
    _runtime: "Runtime"
    _object: Any

    @property
    def class_name(self) -> str:
        return str(self._runtime.parts.typename(self._object))

    @property
    def lines_of_output(self) -> tuple[int, int] | None:
        """The first and the last line of its own updateOutput; None where it has that of a class of nn."""
        return self._runtime.lines_of(self._object["updateOutput"])

    def described(self) -> str:
        """As the class prints itself."""
        if self._runtime.parts.prints_itself(self._object):
            return str(self._runtime.call(self._object["__tostring__"], self._object))
        return self.class_name


class LuaModule(ComputedInLua, nn.Module):
    """An object of a class that the text defines: Lua computes its output and its gradients."""

    def __init__(self, runtime: "Runtime", lua_object: Any, children: Sequence[nn.Module]) -> None:
        super().__init__()
        self._runtime = runtime
        self._object = lua_object
        for place, child in enumerate(children, 1):
            self.add_module(str(place), child)
        # The fields of its gradients by those of its parameters.
        self._gradients = {str(pair[1]): str(pair[2]) for pair in runtime.parts.learnt_fields(lua_object).values()}
        self.shared_parts: dict[str, Part] = {}
        for name in self._gradients:
            weight = runtime.shared.of(runtime.to_python(runtime.parts.raw(lua_object, name)))
            if isinstance(weight, Part):
                self.shared_parts[name] = weight
            else:
                self.register_parameter(name, weight)

    def is_as(self, other: "LuaModule") -> bool:
        """Whether the other has the same modules and weights."""
        return (
            list(map(id, self.children())) == list(map(id, other.children()))
            and self._gradients == other._gradients
            and self.shared_parts == other.shared_parts
            and list(map(id, self._parameters.values())) == list(map(id, other._parameters.values()))
        )

    def _weight(self, name: str) -> Tensor:
        if name in self.shared_parts:
            return self.shared_parts[name].tensor()
        return self.get_parameter(name)

    def forward(self, given: Any) -> Any:
        inputs = tensors_of(given)
        parameters = [self._weight(name) for name in self._gradients]
        # Weights of modules inside get their gradients from Lua: it must be called backward for them too.
        anchor = torch.empty((), requires_grad=any(parameter.requires_grad for parameter in self.parameters()))
        outputs = _in_lua(self, isinstance(given, list | tuple), len(inputs), *inputs, *parameters, anchor)
        return outputs[0] if len(outputs) == 1 and not self.gives_table else list(outputs)

    def train(self, mode: bool = True) -> Self:
        """Of all that the object runs by itself, too."""
        self._runtime.parts.set_training(self._object, mode)
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Everything that the object keeps moves with its weights, as in Torch7."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._runtime.move_tensors(self._object, fn, but=self._gradients)
        return self

    gives_table = False

    # How often it ran forward: the object in Lua keeps what belongs to the last time only.
    runs = 0

    def run_forward(self, inputs: Sequence[Tensor], is_table: bool) -> list[Tensor]:
        runtime = self._runtime
        self.runs += 1
        self.bind_parameters()
        given = [tensor.detach() for tensor in inputs]
        answer = runtime.to_python(runtime.call(self._object["forward"], self._object, given if is_table else given[0]))
        self.gives_table = isinstance(answer, list)
        outputs = tensors_of(answer)
        if not outputs:
            name = runtime.parts.typename(self._object)
            line = self.lines_of_output[0] if self.lines_of_output else None
            raise BadNetwork(
                f"{f'line {line}: ' if line else ''}{name}:updateOutput returns no tensor; it is written as "
                f"function {name}:updateOutput(input) … return self.output end.",
                line,
            )
        # What it keeps in self.output is its own, and is written anew in the next step.
        return [output.clone() for output in outputs]

    def run_backward(
        self, inputs: Sequence[Tensor], is_table: bool, gradients: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        runtime, lua_object = self._runtime, self._object
        given = [tensor.detach() for tensor in inputs]
        lua_inputs = runtime.to_lua(given if is_table else given[0])
        lua_gradients = runtime.to_lua(list(gradients) if self.gives_table else gradients[0])
        for name, gradient in self._gradients.items():
            lua_object[gradient] = runtime.to_lua(torch.zeros_like(self._weight(name)))
        of_inputs = runtime.to_python(runtime.call(lua_object["backward"], lua_object, lua_inputs, lua_gradients, 1))
        of_parameters = [runtime.to_python(lua_object[name]).clone() for name in self._gradients.values()]
        return [gradient.clone() for gradient in tensors_of(of_inputs)], of_parameters

    def bind_parameters(self) -> None:
        """The object's tensors are the parameters, wherever these were moved meanwhile."""
        with torch.no_grad():
            for name in self._gradients:
                self._object[name] = self._runtime.to_lua(self._weight(name))


class _InLua(torch.autograd.Function):
    """A pass through updateOutput, and back through updateGradInput and accGradParameters."""

    @staticmethod
    def forward(ctx: Any, module: LuaModule, is_table: bool, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.module, ctx.is_table, ctx.count = module, is_table, count
        ctx.save_for_backward(*tensors[:count])
        outputs = tuple(module.run_forward(tensors[:count], is_table))
        ctx.run = module.runs
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        if ctx.run != ctx.module.runs:
            # The same object stands elsewhere in the network, too, and ran there since.
            ctx.module.run_forward(ctx.saved_tensors, ctx.is_table)
        of_inputs, of_parameters = ctx.module.run_backward(ctx.saved_tensors, ctx.is_table, gradients)
        missing: list[Tensor | None] = [None] * (ctx.count - len(of_inputs))
        return (None, None, None, *of_inputs, *missing, *of_parameters, None)


# Torch leaves it without types.
_in_lua: Callable[..., tuple[Tensor, ...]] = _InLua.apply


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in tensors_of(part)] if isinstance(value, list | tuple) else []
