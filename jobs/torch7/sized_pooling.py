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


class _Fractional(TorchModule, nn.Module):
    """Windows at random places. The last numbers are the output's sizes, or all of them smaller than 1: shares."""

    # Beside the planes and the batch.
    sides: int
    kernel_size: tuple[int, ...]
    output_size: tuple[int, ...] | None
    output_ratio: tuple[float, ...] | None

    def set_sizes(self, usage: str, pool: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Both by Torch's names, in the order of the input's dimensions."""
        self.kernel_size = whole_numbers(usage, 2, **pool)
        are_shares = all(isinstance(size, float) and 0 < size < 1 for size in wanted.values())
        self.output_ratio = tuple(wanted.values()) if are_shares else None
        self.output_size = None if are_shares else whole_numbers(usage, **wanted)
        self.are_regions_fixed = False
        self.regions: Tensor | None = None

    @lua_method("fixPoolingRegions")
    def fix_regions(self, are_fixed: bool | None = None) -> None:
        """Draw the windows' places no more from now on."""
        self.are_regions_fixed = are_fixed is None or is_true(are_fixed)

    def random_places(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, self.sides + 1, self.sides + 2)
        shape = torch.Size((1, *input.shape))[-self.sides - 2 : -self.sides]
        drawn = torch.rand(*shape, self.sides, dtype=input.dtype, device=input.device)
        if self.are_regions_fixed:
            if self.regions is None or self.regions.shape != drawn.shape:
                self.regions = drawn
            drawn = self.regions
        return drawn


@torch_class("SpatialFractionalMaxPooling")
class SpatialFractionalMaxPooling(_Fractional):
    lua_fields = TorchModule.lua_fields | {"poolSizeW": "poolSizeW", "poolSizeH": "poolSizeH"}
    poolSizeW = Side("kernel_size", -1)
    poolSizeH = Side("kernel_size", -2)
    sides = 2

    def __init__(
        self,
        poolSizeW: int | None = None,
        poolSizeH: int | None = None,
        arg1: float | None = None,
        arg2: float | None = None,
    ) -> None:
        super().__init__()
        usage = f"{self.torch_name}(2, 2, 0.7, 0.7)"
        self.set_sizes(usage, {"poolSizeH": poolSizeH, "poolSizeW": poolSizeW}, {"outH": arg2, "outW": arg1})

    def forward(self, input: Tensor) -> Tensor:
        return functional.fractional_max_pool2d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            _random_samples=self.random_places(input),
        )

    def described(self) -> str:
        height, width = self.output_ratio or self.output_size or ()
        return f"{self.torch_name}({width:g}x{height:g}, {self.poolSizeW},{self.poolSizeH})"


@torch_class("VolumetricFractionalMaxPooling")
class VolumetricFractionalMaxPooling(_Fractional):
    """The same over volumes. Torch's sides are planes × height × width × time here, and nowhere else."""

    lua_fields = TorchModule.lua_fields | {name: name for name in ("poolSizeT", "poolSizeW", "poolSizeH")}
    poolSizeT = Side("kernel_size", -1)
    poolSizeW = Side("kernel_size", -2)
    poolSizeH = Side("kernel_size", -3)
    sides = 3

    def __init__(
        self,
        poolSizeT: int | None = None,
        poolSizeW: int | None = None,
        poolSizeH: int | None = None,
        arg1: float | None = None,
        arg2: float | None = None,
        arg3: float | None = None,
    ) -> None:
        super().__init__()
        self.set_sizes(
            f"{self.torch_name}(2, 2, 2, 0.7, 0.7, 0.7)",
            {"poolSizeH": poolSizeH, "poolSizeW": poolSizeW, "poolSizeT": poolSizeT},
            {"outH": arg3, "outW": arg2, "outT": arg1},
        )

    def forward(self, input: Tensor) -> Tensor:
        return functional.fractional_max_pool3d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            _random_samples=self.random_places(input),
        )

    def described(self) -> str:
        height, width, time = self.output_ratio or self.output_size or ()
        pool = f"{self.poolSizeT},{self.poolSizeW},{self.poolSizeH}"
        return f"{self.torch_name}({time:g}x{width:g}x{height:g}, {pool})"
