"""What every class of Torch7's nn is made of: its name, how Torch prints it, what Lua may read, write and call."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

MOST_VALUES = 2**31

Class = TypeVar("Class", bound="type[TorchModule]")
Method = TypeVar("Method", bound=Callable[..., Any])

# nn.X by its name without "nn.".
CLASSES: dict[str, "type[TorchModule]"] = {}


class BadArgument(ValueError):
    """A call from Lua has an argument that does not fit. The runtime adds the line."""


def torch_class(*names: str) -> Callable[[Class], Class]:
    """Register a class as nn.X; the first name is its own, others are aliases."""

    def register(kind: Class) -> Class:
        kind.torch_name = f"nn.{names[0]}"
        for name in names:
            CLASSES[name] = kind
        return kind

    return register


def lua_method(name: str) -> Callable[[Method], Method]:
    """Let Lua call a method by this name. What returns None gives the object itself, so that calls can be chained."""

    def mark(method: Method) -> Method:
        method.lua_name = name  # type: ignore[attr-defined]
        return method

    return mark


@dataclass(frozen=True)
class MadeOf:
    """The class of nn, by its name in Lua, and the arguments that Lua gave; those that are modules not among them."""

    name: str
    arguments: tuple[Any, ...]


class TorchModule:
    """First base of every class of nn."""

    # Of objects that Lua made.
    made_of: MadeOf | None = None
    # The class's; an object of cudnn has its own.
    torch_name: str = "nn.Module"
    # Whether its step may be recorded as a CUDA graph.
    capturable: ClassVar[bool] = True
    lua_fields: ClassVar[dict[str, str]] = {
        "weight": "weight",
        "bias": "bias",
        "running_mean": "running_mean",
        "running_var": "running_var",
    }

    @classmethod
    def lua_methods(cls) -> dict[str, str]:
        """Names of Python methods by the names that Lua calls them."""
        return {
            method.lua_name: name
            for kind in reversed(cls.__mro__)
            for name, method in vars(kind).items()
            if hasattr(method, "lua_name")
        }

    def described(self) -> str:
        """The object as Torch's `tostring` prints it."""
        return self.torch_name

    @lua_method("reset")
    def reset(self, std: float | None = None) -> None:
        """Draw the weights anew: as the class does, or uniformly with this standard deviation."""
        assert isinstance(self, nn.Module)
        if std is None:
            draw = getattr(self, "reset_parameters", None)
            if draw is not None:
                draw()
            return
        bound = std * math.sqrt(3)
        with torch.no_grad():
            for parameter in self.parameters(recurse=False):
                parameter.uniform_(-bound, bound)


class Container(TorchModule, nn.Module):
    """A module made of modules, which Torch counts from 1."""

    def __init__(self, children: Sequence[nn.Module], *arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments
        for number, child in enumerate(children, 1):
            self.add_module(str(number), child)

    def described(self) -> str:
        lines = [f"{self.torch_name} {{"]
        lines += [f"  ({number}): {indented(describe(child))}" for number, child in enumerate(members(self), 1)]
        return "\n".join([*lines, "}"])


def members(container: nn.Module) -> list[nn.Module]:
    """The modules in their order. `children()` would leave out one that is there a second time."""
    return [module for module in container._modules.values() if module is not None]


class Criterion(TorchModule, nn.Module):
    """A loss. `forward(output, target)` gives one number, the mean over the batch as Torch's sizeAverage takes it."""


def describe(module: nn.Module) -> str:
    """A module as Torch prints it; one of PyTorch's own as PyTorch does."""
    return module.described() if isinstance(module, TorchModule) else str(module)


def indented(text: str, by: str = "  ") -> str:
    """The lines after the first moved to the right."""
    return text.replace("\n", f"\n{by}")


def refuse_absurd_size(name: str, *sizes: int) -> None:
    """BadArgument where sizes are not positive whole numbers, or make more values than memory can hold."""
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise BadArgument(f"{name} got the size {size!r}; it takes whole numbers from 1 on")
    if math.prod(sizes) > MOST_VALUES:
        raise BadArgument(f"{name} would have {math.prod(sizes):,} weights; at most {MOST_VALUES:,} are possible")


def dimension(number: int, dimensions: int) -> int:
    """Torch's dimension, counted from 1 or from the end, as PyTorch counts it."""
    found = number - 1 if number > 0 else dimensions + number
    if not 0 <= found < dimensions:
        raise ValueError(f"dimension {number} is out of range: the input has {dimensions}")
    return found


Table = list[Tensor]
