"""Torch's modules that compute with constants, with single values, and along one dimension."""

from typing import Any

import torch
from torch import Tensor, nn

from jobs.torch7.activations import MaybeInPlace
from jobs.torch7.module import BadArgument, TorchModule, torch_class
from jobs.torch7.shapes import dimension_beside_batch


class _WithConstant(MaybeInPlace, nn.Module):
    lua_fields = MaybeInPlace.lua_fields | {"constant_scalar": "constant"}

    def __init__(self, constant: Any = None, in_place: bool = False) -> None:
        super().__init__()
        if isinstance(constant, bool) or not isinstance(constant, int | float):
            raise BadArgument(f"{self.torch_name} needs a number: {self.torch_name}(0.5)")
        self.constant = constant
        self.in_place = bool(in_place)


@torch_class("MulConstant")
class MulConstant(_WithConstant):
    def forward(self, input: Tensor) -> Tensor:
        return input * self.constant


@torch_class("AddConstant")
class AddConstant(_WithConstant):
    def forward(self, input: Tensor) -> Tensor:
        return input + self.constant


@torch_class("Exp")
class Exp(TorchModule, nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        return input.exp()


@torch_class("Log")
class Log(TorchModule, nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        return input.log()


@torch_class("Sqrt")
class Sqrt(TorchModule, nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        # At zero Torch's gradient is zero where PyTorch's is infinite.
        is_zero = input == 0
        return torch.where(is_zero, 1, input).sqrt().masked_fill(is_zero, 0)


@torch_class("Square")
class Square(TorchModule, nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        return input.square()


@torch_class("Power")
class Power(TorchModule, nn.Module):
    lua_fields = TorchModule.lua_fields | {"pow": "power"}

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, input: Tensor) -> Tensor:
        return input.pow(self.power)


class _Along(TorchModule, nn.Module):
    """One value for all along a dimension. Torch knows no tensor without dimensions: that of a vector is a vector of one."""

    lua_fields = TorchModule.lua_fields | {"dimension": "dimension", "nInputDims": "input_dims"}

    def __init__(self, dimension: int = 1, input_dims: int | None = None) -> None:
        super().__init__()
        self.dimension = dimension
        self.input_dims = input_dims

    def along(self, input: Tensor) -> int:
        return dimension_beside_batch(self.dimension, self.input_dims, input)


@torch_class("Sum")
class Sum(_Along):
    lua_fields = _Along.lua_fields | {"sizeAverage": "size_average", "squeeze": "squeeze"}

    def __init__(
        self,
        dimension: int = 1,
        input_dims: int | None = None,
        size_average: bool = False,
        squeeze: bool | None = None,
    ) -> None:
        super().__init__(dimension, input_dims)
        self.size_average = bool(size_average)
        self.squeeze = squeeze is None or bool(squeeze)

    def forward(self, input: Tensor) -> Tensor:
        along = self.along(input)
        keep = not self.squeeze or input.dim() == 1
        return input.mean(along, keepdim=keep) if self.size_average else input.sum(along, keepdim=keep)


@torch_class("Mean")
class Mean(Sum):
    def __init__(self, dimension: int = 1, input_dims: int | None = None) -> None:
        super().__init__(dimension, input_dims, size_average=True)


@torch_class("Max")
class Max(_Along):
    def forward(self, input: Tensor) -> Tensor:
        return input.max(self.along(input), keepdim=input.dim() == 1).values


@torch_class("Min")
class Min(_Along):
    def forward(self, input: Tensor) -> Tensor:
        return input.min(self.along(input), keepdim=input.dim() == 1).values
