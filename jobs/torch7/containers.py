"""Torch's modules that are made of modules: in a row, side by side, or one for every entry of a table."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import BadArgument, Container, describe, dimension, indented, members, torch_class
from jobs.torch7.shapes import Value, slices
from jobs.torch7.sizes import any_whole_numbers
from jobs.torch7.tables import table


@torch_class("Sequential")
class Sequential(Container):
    def forward(self, input: Value) -> Value:
        for module in members(self):
            input = module(input)
        return input

    def described(self) -> str:
        parts = members(self)
        way = " -> ".join(["input", *(f"({number})" for number in range(1, len(parts) + 1)), "output"])
        lines = [f"{self.torch_name} {{", f"  [{way}]"]
        lines += [f"  ({number}): {indented(describe(part))}" for number, part in enumerate(parts, 1)]
        return "\n".join([*lines, "}"])


class _SideBySide(Container):
    """Modules that work beside each other, drawn as a tree."""

    def described(self) -> str:
        parts = members(self)
        lines = [f"{self.torch_name} {{", "  input"]
        for number, part in enumerate(parts, 1):
            branch, stem = ("   `-> ", "         ") if number == len(parts) else ("  |`-> ", "    |    ")
            lines.append(f"  {branch}({number}): {indented(describe(part), stem)}")
        return "\n".join([*lines, "     ... -> output", "}"])


@torch_class("Concat")
class Concat(_SideBySide):
    """All modules get the input; what they give is put together along a dimension, counted with the batch's."""

    def __init__(self, children: Sequence[nn.Module], dimension: Any = None) -> None:
        super().__init__(children, dimension)
        any_whole_numbers(f"{self.torch_name}(2)", dimension=dimension)
        self.dimension: int = dimension

    def forward(self, input: Value) -> Tensor:
        outputs = [module(input) for module in members(self)]
        return torch.cat(outputs, dimension(self.dimension, outputs[0].dim()))


@torch_class("DepthConcat")
class DepthConcat(Concat):
    """Concat of pictures of several sizes: zeros around the smaller ones make all as large as the largest."""

    def forward(self, input: Value) -> Tensor:
        outputs = [module(input) for module in members(self)]
        along = dimension(self.dimension, outputs[0].dim())
        largest = [max(sides) for sides in zip(*(output.shape for output in outputs), strict=True)]
        return torch.cat([_padded(output, largest, along) for output in outputs], along)


def _padded(picture: Tensor, sizes: list[int], but: int) -> Tensor:
    """The picture in the middle of zeros; where it cannot lie in the middle, one nearer to the beginning."""
    padding: list[int] = []
    # PyTorch counts the last dimension first.
    for axis in reversed(range(picture.dim())):
        missing = 0 if axis == but else sizes[axis] - picture.shape[axis]
        padding += [missing // 2, missing - missing // 2]
    return functional.pad(picture, padding)


@torch_class("Parallel")
class Parallel(_SideBySide):
    """Every module gets its slice of the input's dimension; what they give is put together along the output's."""

    def __init__(
        self, children: Sequence[nn.Module], input_dimension: Any = None, output_dimension: Any = None
    ) -> None:
        super().__init__(children, input_dimension, output_dimension)
        usage = f"{self.torch_name}(2, 2)"
        any_whole_numbers(usage, input_dimension=input_dimension, output_dimension=output_dimension)
        self.input_dimension: int = input_dimension
        self.output_dimension: int = output_dimension

    def forward(self, input: Tensor) -> Tensor:
        parts = slices(self.torch_name, input, dimension(self.input_dimension, input.dim()))
        modules = members(self)
        if len(parts) > len(modules):
            raise ValueError(
                f"{self.torch_name} has {len(modules)} modules for the {len(parts)} slices of dimension {self.input_dimension}"
            )
        outputs = [module(part) for module, part in zip(modules, parts, strict=False)]
        return torch.cat(outputs, dimension(self.output_dimension, outputs[0].dim()))


@torch_class("ConcatTable")
class ConcatTable(_SideBySide):
    """A table of what all modules make of the input."""

    def forward(self, input: Value) -> list[Any]:
        return [module(input) for module in members(self)]


@torch_class("ParallelTable")
class ParallelTable(_SideBySide):
    """A table of what each module makes of its entry of the input."""

    def forward(self, input: Value) -> list[Any]:
        modules = members(self)
        return [
            module(part) for module, part in zip(modules, table(self.torch_name, input, len(modules)), strict=False)
        ]


class _Single(Container):
    """A container of one module."""

    def __init__(self, children: Sequence[nn.Module], *arguments: Any) -> None:
        if len(children) != 1:
            raise BadArgument(f"{self.torch_name} takes one module, got {len(children)}")
        super().__init__(children, *arguments)

    @property
    def module(self) -> nn.Module:
        return members(self)[0]


@torch_class("MapTable")
class MapTable(_Single):
    """A table of what the one module makes of every entry."""

    def __init__(self, children: Sequence[nn.Module], is_shared: bool = True) -> None:
        super().__init__(children, is_shared)

    def forward(self, input: Value) -> list[Any]:
        return [self.module(part) for part in table(self.torch_name, input)]

    def described(self) -> str:
        return f"{self.torch_name} {{\n  {indented(describe(self.module), '        ')}\n}}"


@torch_class("Decorator")
class Decorator(_Single):
    """The one module in it."""

    def forward(self, input: Value) -> Value:
        return self.module(input)

    def described(self) -> str:
        return f"{self.torch_name} @ {describe(self.module)}"


@torch_class("Serial")
class Serial(Decorator):
    """How Torch writes the module to a file; nothing here."""


@torch_class("GPU")
class GPU(Decorator):
    """On which GPU Torch runs the module; one runs all of them here."""

    def __init__(self, children: Sequence[nn.Module], device: Any = None, output_device: Any = None) -> None:
        super().__init__(children, device, output_device)
        any_whole_numbers(f"{self.torch_name}(module, 1)", device=device)
        self.device: int = device

    def described(self) -> str:
        return f"{self.torch_name}({self.device}) @ {describe(self.module)}"


@torch_class("DataParallelTable")
class DataParallelTable(_Single):
    """Which dimension Torch shares out over several GPUs; one runs all of it here."""

    def __init__(self, children: Sequence[nn.Module], dimension: int = 1, *flags: Any) -> None:
        super().__init__(children[:1], dimension, *flags)

    def forward(self, input: Value) -> Value:
        return self.module(input)

    def described(self) -> str:
        return f"DataParallelTable: 1 x {describe(self.module)}"


@torch_class("Bottle")
class Bottle(Decorator):
    """Takes the dimensions that its module does not know for further images of the batch."""

    def __init__(self, children: Sequence[nn.Module], input_dims: int = 2, output_dims: int | None = None) -> None:
        super().__init__(children, input_dims, output_dims)
        self.input_dims = input_dims
        self.output_dims = input_dims if output_dims is None else output_dims

    def forward(self, input: Tensor) -> Tensor:
        further = input.dim() - self.input_dims
        bottled: Tensor = self.module(input.flatten(0, further) if further > 0 else input)
        if further < 1:
            return bottled
        if bottled.dim() != self.output_dims:
            raise ValueError(
                f"Wrong number of output dims on module. Expected: {self.output_dims} but got {bottled.dim()}"
            )
        return bottled.reshape(*input.shape[:further], -1, *bottled.shape[1:])
