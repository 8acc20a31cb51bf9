"""Sizes and other arguments of layers: what they may be, Torch's names for them, and how Torch prints them."""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

from torch import Tensor

from jobs.torch7.module import BadArgument

ANY = -(2**31)


def whole_numbers(usage: str, least: int = 1, /, **values: object) -> tuple[int, ...]:
    """The arguments of a layer as whole numbers from `least` on; BadArgument names the first that is none.

    `usage` is a call as it should be: "nn.Linear(784, 300)".
    """
    numbers: list[int] = []
    for argument, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            wanted = "a whole number" if least == ANY else f"a whole number from {least} on"
            raise BadArgument(f"{_name(usage)} got {as_lua(value)} for {argument}; it takes {wanted}, as in {usage}")
        numbers.append(value)
    return tuple(numbers)


def any_whole_numbers(usage: str, /, **values: object) -> tuple[int, ...]:
    """Whole numbers that may be negative."""
    return whole_numbers(usage, ANY, **values)


def real_number(usage: str, argument: str, value: object, default: float) -> float:
    """An argument that may be left out."""
    if value is None:
        return default
    if isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value):
        return value
    raise BadArgument(f"{_name(usage)} got {as_lua(value)} for {argument}; it takes a number, as in {usage}")


def or_default(value: int | None, default: int | None) -> int | None:
    """A number that may be left out: Lua gives nil, which is None."""
    return default if value is None else value


def is_true(value: object) -> bool:
    """What Lua takes for true: everything but nil and false, so 0 as well."""
    return value is not None and value is not False


def as_lua(value: object) -> str:
    """A value in a sentence for somebody who writes Lua."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Tensor):
        return "a tensor"
    return "a table" if isinstance(value, list | dict) else repr(value)


def _name(usage: str) -> str:
    return usage.partition("(")[0]


class Side:
    """One side of a size by Torch's name: kW is the last number of `kernel_size`."""

    def __init__(self, sizes: str, place: int) -> None:
        self.sizes = sizes
        self.place = place

    @overload
    def __get__(self, layer: None, kind: type) -> "Side": ...
    @overload
    def __get__(self, layer: object, kind: type) -> int: ...
    def __get__(self, layer: object | None, kind: type) -> "Side | int":
        if layer is None:
            return self
        side: int = getattr(layer, self.sizes)[self.place]
        return side

    def __set__(self, layer: object, side: int) -> None:
        sides = list(getattr(layer, self.sizes))
        sides[self.place] = side
        setattr(layer, self.sizes, tuple(sides))


class Window:
    """Mixin of layers that move a window over images: PyTorch's (height, width) by Torch's names."""

    kW = Side("kernel_size", -1)
    kH = Side("kernel_size", -2)
    dW = Side("stride", -1)
    dH = Side("stride", -2)
    padW = Side("padding", -1)
    padH = Side("padding", -2)


class VolumeWindow(Window):
    """The same over volumes, whose first side is time."""

    kT = Side("kernel_size", -3)
    dT = Side("stride", -3)
    padT = Side("padding", -3)


WINDOW = {name: name for name in ("kW", "kH", "dW", "dH", "padW", "padH")}
VOLUME_WINDOW = WINDOW | {name: name for name in ("kT", "dT", "padT")}


def in_torch_order(sides: Iterable[int]) -> list[int]:
    """PyTorch's (height, width) or (time, height, width) as Torch writes it: (time,) width, height."""
    *time, height, width = sides
    return [*time, width, height]


def by_commas(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)


def by_crosses(numbers: Iterable[int]) -> str:
    return "x".join(str(number) for number in numbers)


def shape_of(tensor: Tensor) -> str:
    return by_crosses(tensor.shape) or "one number"


def check_dimensions(name: str, tensor: Tensor, *dimensions: int) -> None:
    """ValueError for an input with another number of dimensions."""
    if tensor.dim() not in dimensions:
        wanted = " or ".join(str(number) for number in dimensions)
        raise ValueError(f"{name} takes an input of {wanted} dimensions; it got {tensor.dim()}: {shape_of(tensor)}")


def with_batch(layer: Callable[[Tensor], Tensor], tensor: Tensor, dimensions: int) -> Tensor:
    """What the layer makes of a batch, or of a sample, which has this number of dimensions."""
    return layer(tensor.unsqueeze(0)).squeeze(0) if tensor.dim() == dimensions else layer(tensor)


def draw_uniformly(bound: float, *parameters: Any) -> None:
    """Fill the parameters, those that there are, with random numbers from -bound to bound."""
    for parameter in parameters:
        if parameter is not None:
            parameter.data.uniform_(-bound, bound)
