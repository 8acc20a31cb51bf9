"""Pooling to a given size: windows are as large as that needs, or lie at random places."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import TorchModule, lua_method, torch_class
from jobs.torch7.sizes import Side, check_dimensions, is_true, whole_numbers


class _Adaptive(TorchModule, nn.Module):
    """Pools so that the output has this width and height."""

    lua_fields = TorchModule.lua_fields | {"W": "W", "H": "H"}
    W = Side("output_size", -1)
    H = Side("output_size", -2)

    def __init__(self, W: int | None = None, H: int | None = None) -> None:
        width, height = whole_numbers(f"{self.torch_name}(6, 6)", W=W, H=H)
        super().__init__((height, width))

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        pooled: Tensor = super().forward(input)
        return pooled


@torch_class("SpatialAdaptiveMaxPooling")
class SpatialAdaptiveMaxPooling(_Adaptive, nn.AdaptiveMaxPool2d):
    pass


@torch_class("SpatialAdaptiveAveragePooling")
class SpatialAdaptiveAveragePooling(_Adaptive, nn.AdaptiveAvgPool2d):
    pass


@torch_class("SpatialFractionalMaxPooling")
class SpatialFractionalMaxPooling(TorchModule, nn.FractionalMaxPool2d):
    """Windows at random places. The last two numbers are the output's width and height, or both smaller than 1: shares."""

    lua_fields = TorchModule.lua_fields | {"poolSizeW": "poolSizeW", "poolSizeH": "poolSizeH"}
    poolSizeW = Side("kernel_size", -1)
    poolSizeH = Side("kernel_size", -2)

    def __init__(
        self,
        poolSizeW: int | None = None,
        poolSizeH: int | None = None,
        arg1: float | None = None,
        arg2: float | None = None,
    ) -> None:
        usage = f"{self.torch_name}(2, 2, 0.7, 0.7)"
        width, height = whole_numbers(usage, 2, poolSizeW=poolSizeW, poolSizeH=poolSizeH)
        if isinstance(arg1, float) and isinstance(arg2, float) and 0 < arg1 < 1 and 0 < arg2 < 1:
            super().__init__((height, width), output_ratio=(arg2, arg1))
        else:
            columns, rows = whole_numbers(usage, outW=arg1, outH=arg2)
            super().__init__((height, width), output_size=(rows, columns))
        self.are_regions_fixed = False
        self.regions: Tensor | None = None

    @lua_method("fixPoolingRegions")
    def fix_regions(self, are_fixed: bool | None = None) -> None:
        """Draw the windows' places no more from now on."""
        self.are_regions_fixed = are_fixed is None or is_true(are_fixed)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        shape = torch.Size((1, *input.shape))[-4:-2]
        drawn = torch.rand(*shape, 2, dtype=input.dtype, device=input.device)
        if self.are_regions_fixed:
            if self.regions is None or self.regions.shape != drawn.shape:
                self.regions = drawn
            drawn = self.regions
        return functional.fractional_max_pool2d(
            input, self.kernel_size, self.output_size, self.output_ratio, _random_samples=drawn
        )

    def described(self) -> str:
        wanted: Any = self.output_ratio or self.output_size
        height, width = wanted
        return f"{self.torch_name}({width:g}x{height:g}, {self.poolSizeW},{self.poolSizeH})"
