"""What a text asks of classes and objects of nn that Python knows."""

import copy
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from jobs.torch7 import library
from jobs.torch7.history import Copied, Made
from jobs.torch7.module import CLASSES, Container, Criterion, MadeOf, TorchModule, describe
from jobs.torch7.sharing import parts_of, set_weight
from jobs.torch7.values import Handle

if TYPE_CHECKING:
    from jobs.torch7.runtime import Runtime


class ModuleCommands:
    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime

    def lua_kind_of_class(self, name: str) -> str | None:
        """ "leaf", "container", a sentence for a class of Torch7 that is missing here, or None for no class at all."""
        kind = CLASSES.get(name)
        if kind is not None:
            return "container" if issubclass(kind, Container) else "leaf"
        return library.why_missing(name)

    def lua_is_criterion(self, name: str) -> bool:
        return issubclass(CLASSES[name], Criterion)

    def lua_methods(self, name: str) -> Any:
        return self._runtime.lua.table_from(dict.fromkeys(CLASSES[name].lua_methods(), True))

    def lua_new_leaf(self, name: str, line: int | bool, count: int, *arguments: Any) -> Handle:
        # Lua hands over what was given; what comes as nil at the end may be missing here.
        given = [*map(self._runtime.to_python, arguments), *[None] * (count - len(arguments))]
        module = make_module(name, given)
        if line:
            self._runtime.lines[module] = int(line)
        if self._runtime.history is not None:
            self._runtime.history.steps.append(Made(module))
        return Handle(module)

    def lua_rename(self, handle: Handle, name: str) -> None:
        """An object of another library's class that computes the same."""
        handle.held.torch_name = name

    def lua_method(self, handle: Handle, lua_name: str, *arguments: Any) -> Any:
        method = getattr(handle.held, handle.held.lua_methods()[lua_name])
        given = [*map(self._runtime.to_python, arguments)]
        if self._runtime.history is not None:
            self._runtime.history.module_method(handle.held, lua_name, given)
        return self._runtime.to_lua(method(*given))

    def lua_field(self, handle: Handle, name: str) -> Any:
        module = handle.held
        if name in ("gradWeight", "gradBias"):
            return self._gradient(module, name)
        attribute = _fields(module).get(name)
        with torch.no_grad():
            return None if attribute is None else self._runtime.to_lua(getattr(module, attribute, None))

    def _gradient(self, module: nn.Module, name: str) -> Any:
        field = "weight" if name == "gradWeight" else "bias"
        part = parts_of(module).get(field)
        if part is not None:
            return self._runtime.to_lua(part.of(self._runtime.gradients.of(part.whole)))
        parameter = getattr(module, field, None)
        return None if parameter is None else self._runtime.to_lua(self._runtime.gradients.of(parameter))

    def lua_set_field(self, handle: Handle, name: str, value: Any) -> bool:
        """Whether the field is one of Python's; else it is the Lua object's own."""
        module = handle.held
        attribute = _fields(module).get(name)
        if attribute is None:
            return False
        self._set_attribute(module, attribute, self._runtime.to_python(value))
        return True

    def _set_attribute(self, module: nn.Module, attribute: str, given: Any) -> None:
        is_weight = attribute in module._parameters or attribute in parts_of(module)
        if is_weight and (given is None or isinstance(given, Tensor)):
            set_weight(module, attribute, None if given is None else self._runtime.shared.of(given))
        else:
            setattr(module, attribute, given)

    def lua_new_copies(self) -> Handle:
        """What is copied with one call of clone: what modules share there, their copies share too."""
        return Handle({})

    def lua_clone_handle(self, handle: Handle, shared: Any, copies: Handle) -> Handle:
        """A copy of a module that shares the parameters with these names with it."""
        module = handle.held
        names = {_fields(module).get(name) for name in shared.values()}
        kept = [
            *module.named_parameters(recurse=False),
            *((name, part.whole) for name, part in parts_of(module).items()),
        ]
        copies.held.update({id(parameter): parameter for name, parameter in kept if name in names})
        made = copy.deepcopy(module, copies.held)
        if module in self._runtime.lines:
            self._runtime.lines[made] = self._runtime.lines[module]
        if self._runtime.history is not None:
            self._runtime.history.steps.append(Copied(made, module))
        return Handle(made)

    def lua_share(self, mine: Handle, other: Handle, name: str) -> None:
        if name in ("gradWeight", "gradBias"):
            # Whose weights are one have one gradient.
            return
        attribute = _fields(mine.held)[name]
        with torch.no_grad():
            self._set_attribute(mine.held, attribute, getattr(other.held, attribute))

    def lua_described(self, lua_object: Any) -> str:
        handle = self._runtime.parts.handle(lua_object)
        return describe(handle.held if handle is not None else self._runtime.objects.module_of(lua_object))


def make_module(name: str, given: Sequence[Any], *before: Any) -> nn.Module:
    """An object of nn from what Lua gave, after the arguments of ours that come `before`. nil is what is not given."""
    kind: Any = CLASSES[name]
    arguments = list(given)
    while arguments and arguments[-1] is None:
        arguments.pop()
    parameters = list(inspect.signature(kind).parameters.values())[len(before) :]
    if all(parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters):
        # What is too much is not looked at, as in any function of Lua.
        arguments = arguments[: len(parameters)]
    for place, (parameter, value) in enumerate(zip(parameters, arguments, strict=False)):
        if value is None and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            if parameter.default is inspect.Parameter.empty:
                raise ValueError(f"nn.{name} got nil as its argument {place + 1}; is a name misspelt?")
            arguments[place] = parameter.default
    try:
        module: nn.Module = kind(*before, *arguments)
    except TypeError as error:
        said = ", ".join(map(_shown, given))
        raise ValueError(f"nn.{name}({said}) has arguments that do not fit: {_without_class(error)}") from error
    if isinstance(module, TorchModule):
        module.made_of = MadeOf(name, tuple(arguments))
    return module


def _fields(module: nn.Module) -> dict[str, str]:
    fields: dict[str, str] = {}
    for kind in reversed(type(module).__mro__):
        fields |= vars(kind).get("lua_fields", {})
    return fields


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor of {'×'.join(map(str, value.shape))}"
    return "nil" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _without_class(error: TypeError) -> str:
    return str(error).partition("__init__() ")[2] or str(error)
