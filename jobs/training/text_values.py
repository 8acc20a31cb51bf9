"""What a network's text in Python reaches beside the attributes of its modules: globals, classes, variables of functions."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from types import CellType, FunctionType
from typing import Any

from torch import nn

from jobs.networks.contract import MODULE_NAME, Network

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def modules_of(network: Network) -> Iterator[tuple[str, nn.Module]]:
    yield from network.model.named_modules(prefix="model")
    if isinstance(network.loss, nn.Module):
        yield from network.loss.named_modules(prefix="loss")


class TextValues:
    """What the modules and functions of a text reach at this moment."""

    def __init__(self, network: Network) -> None:
        self._network = network
        # Those of the text that its modules are of.
        found = {id(owner): owner for _, module in modules_of(network) for owner in type(module).__mro__}
        self.classes = [owner for owner in found.values() if owner.__module__ == MODULE_NAME]
        # Those of the text that run at each step.
        methods = (value for owner in self.classes for value in vars(owner).values())
        self.functions = [
            function
            for function in (network.label_hook, network.loss, *_hooks(network), *methods)
            if type(function) is FunctionType and function.__module__ == MODULE_NAME
        ]

    def variables(self) -> dict[str, list[Any]]:
        """The values by their names; functions around others, and classes, may have variables of one name."""
        found: defaultdict[str, list[Any]] = defaultdict(list)
        if self._network.framework != "pytorch":
            return found
        for name, value in self._values():
            found[name].append(value)
        for function in self.functions:
            found[function.__qualname__] += [function.__defaults__, function.__kwdefaults__, vars(function)]
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                found[name].append(content_of(cell))
        return {name: values for name, values in found.items() if not is_hidden(name)}

    def _values(self) -> Iterator[tuple[str, Any]]:
        """Globals, what classes of modules have in common, and what is called and is no function."""
        if MODULE_NAME in sys.modules:
            yield from vars(sys.modules[MODULE_NAME]).items()
        for owner in self.classes:
            yield from (
                (f"{owner.__name__}.{name}", value) for name, value in vars(owner).items() if not is_hidden(name)
            )
        called = [("label_hook", self._network.label_hook), ("loss", self._network.loss)]
        for name, value in called + [("a hook", hook) for hook in _hooks(self._network)]:
            if not issubclass(type(value), FunctionType | nn.Module):
                yield name, value


def _hooks(network: Network) -> Iterator[Any]:
    for _, module in modules_of(network):
        for name in HOOKS:
            yield from vars(module).get(name, {}).values()


def is_hidden(name: str) -> bool:
    return name.startswith("__")


def content_of(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Nothing was assigned yet.
        return None
