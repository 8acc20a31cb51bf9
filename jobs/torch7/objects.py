"""Objects of Lua as one network of Python."""

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import lupa.lua51 as lupa
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.weak import WeakTensorKeyDictionary

from jobs.torch7 import library
from jobs.torch7.faults import LuaFault
from jobs.torch7.module import describe, members
from jobs.torch7.module_commands import make_module
from jobs.torch7.own_class import LuaModule, tensors_of
from jobs.torch7.own_criterion import LuaCriterion
from jobs.torch7.sharing import parts_of
from jobs.torch7.values import Handle

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime


class Objects:
    """Finds or makes the module of each object, until the network is complete."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._is_complete = False
        # What Lua computes, by the numbers of its objects, as long as a network has it.
        self._own: WeakValueDictionary[int, LuaModule] = WeakValueDictionary()
        # What each object's own functions took out of the training, until the network is complete.
        self._frozen: dict[int, list[Parameter]] = {}
        # What their `parameters` does not name.
        self.unnamed = WeakTensorKeyDictionary()

    def module_of(self, lua_object: Any) -> nn.Module:
        """The Python module for an object of nn. What was completed before stays as it is, unless its parts changed."""
        parts = self._runtime.parts
        if not parts.is_module(lua_object) and not parts.is_criterion(lua_object):
            raise ValueError(f"an object of nn is expected here, got {_kind_in_lua(lua_object)}")
        if parts.is_criterion(lua_object):
            return self._criterion(lua_object)
        compute = self._own_module if parts.computes_in_lua(lua_object) else self.python_module
        module = compute(lua_object)
        if not self._is_complete:
            self._freeze(lua_object, module)
            if self._runtime.asks_for_outputs and not isinstance(module, LuaModule):
                self._runtime.outputs.keep(module)
        if parts.line(lua_object):
            self._runtime.lines[module] = parts.line(lua_object)
        return module

    def _freeze(self, lua_object: Any, module: nn.Module) -> None:
        """Take out of the training what people took out: with an accGradParameters that does nothing, or with a
        `parameters` that does not name it."""
        number = self._runtime.parts.number(lua_object)
        for parameter in self._frozen.pop(number, []):
            parameter.requires_grad_(True)
            self.unnamed.pop(parameter, None)  # type: ignore[no-untyped-call]
        learnt: list[Tensor] = []
        if not self._runtime.parts.is_frozen(lua_object):
            if not self._runtime.parts.names_its_parameters(lua_object):
                return
            learnt = tensors_of(self._runtime.to_python(self._runtime.call(lua_object["parameters"], lua_object)))
        places = {tensor.data_ptr() for tensor in learnt}
        self._frozen[number] = [
            parameter
            for parameter in module.parameters()
            if parameter.requires_grad and parameter.data_ptr() not in places
        ]
        for parameter in self._frozen[number]:
            parameter.requires_grad_(False)
            if not self._runtime.parts.is_frozen(lua_object):
                self.unnamed[parameter] = True

    def complete(self, network: nn.Module) -> None:
        """The network is as the training gets it. BadNetwork when a layer has a part of a weight that nobody trains."""
        self._runtime.shared.join(network)
        self._is_complete = True
        trained = set(network.parameters())
        for module in network.modules():
            for name, part in parts_of(module).items():
                if part.whole not in trained:
                    sentence = f"{describe(module)} shares its {name} with a layer that is not in the model"
                    raise LuaFault(sentence, self._runtime.lines.get(module)).as_bad_network()
        self._runtime.gradients.begin_training(network)
        self._frozen.clear()

    def _criterion(self, lua_object: Any) -> nn.Module:
        if not self._runtime.parts.is_own_criterion(lua_object):
            return self.python_module(lua_object)
        return LuaCriterion(self._runtime, lua_object)

    def _own_module(self, lua_object: Any) -> nn.Module:
        """Of an object of a class of the user's. What it inherits from a class of Python's has the weights."""
        number = self._runtime.parts.number(lua_object)
        before = self._own.get(number)
        if before is not None and self._is_complete:
            return before
        inherited = self._runtime.parts.handle(lua_object)
        parts = [] if inherited is None else [inherited.held]
        inner = map(self.module_of, self._runtime.parts.inner_modules(lua_object).values())
        module = LuaModule(self._runtime, lua_object, [*parts, *self._children(lua_object), *inner])
        if before is None or not before.is_as(module):
            self._own[number] = before = module
        return before

    def python_module(self, lua_object: Any) -> nn.Module:
        """What Python computes for an object, whatever a class of the user's makes of it."""
        handle = self._runtime.parts.handle(lua_object)
        return self._container(lua_object) if handle is None else handle.held

    def _children(self, lua_object: Any) -> list[nn.Module]:
        modules = self._runtime.parts.raw(lua_object, "modules")
        if modules is None:
            return []
        return [self.module_of(modules[place]) for place in range(1, len(modules) + 1)]

    def _container(self, lua_object: Any) -> nn.Module:
        children = self._children(lua_object)
        kind = self._runtime.parts.known_ancestor(lua_object)
        before = self._runtime.parts.container(lua_object)
        if before is not None and list(map(id, members(before.held))) == list(map(id, children)):
            return before.held  # type: ignore[no-any-return]
        container = self._new_container(lua_object, kind, children)
        self._runtime.parts.set_container(lua_object, Handle(container))
        return container

    def _new_container(self, lua_object: Any, kind: str | None, children: list[nn.Module]) -> nn.Module:
        if kind == "gModule":
            name = self._runtime.parts.raw(lua_object, "name")
            edges, inputs, outputs = (
                self._runtime.to_python(lua_object[f"graph_{name}"]) for name in ("edges", "inputs", "outputs")
            )
            return library.graph_module(
                children,
                [[place - 1 for place in edge] for edge in edges],
                [place - 1 for place in inputs],
                [place - 1 for place in outputs],
                name if isinstance(name, str) else None,
            )
        if kind is None:
            name = self._runtime.parts.typename(lua_object)
            raise ValueError(
                f"{name} has no updateOutput: define function {name}:updateOutput(input) for it, or let it inherit from a "
                "container such as nn.Sequential"
            )
        given = self._runtime.parts.arguments(lua_object)
        arguments = [given[place] for place in range(1, int(given["n"]) + 1)] if given is not None else []
        plain = [self._runtime.to_python(value) for value in arguments if not self._runtime.parts.is_module(value)]
        try:
            return make_module(kind, plain, children)
        except ValueError as error:
            raise LuaFault(str(error), self._runtime.parts.line(lua_object)).as_bad_network() from error


def _kind_in_lua(value: Any) -> str:
    return lupa.lua_type(value) or type(value).__name__
