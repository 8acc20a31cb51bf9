"""Torch's modules that compute with constants, with single values, and along one dimension."""

from typing import Any

from torch import Tensor, nn

from jobs.torch7.activations import MaybeInPlace
from jobs.torch7.module import BadArgument, torch_class


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
