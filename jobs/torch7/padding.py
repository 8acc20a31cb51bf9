"""Layers that put something around images, or make them larger."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import BadArgument, TorchModule, dimension, torch_class
from jobs.torch7.sizes import (
    any_whole_numbers,
    as_lua,
    check_dimensions,
    or_default,
    real_number,
    shape_of,
    whole_numbers,
    with_batch,
)


class _SpatialPadding(TorchModule, nn.Module):
    """Left, right, top, bottom; what is left out is as the left. Negative ones cut off."""

    lua_fields = TorchModule.lua_fields | {name: name for name in ("pad_l", "pad_r", "pad_t", "pad_b")}
    mode: ClassVar[str]

    def __init__(
        self,
        pad_l: int | None = None,
        pad_r: int | None = None,
        pad_t: int | None = None,
        pad_b: int | None = None,
    ) -> None:
        super().__init__()
        self.pad_l, self.pad_r, self.pad_t, self.pad_b = any_whole_numbers(
            f"{self.torch_name}(2, 2, 2, 2)",
            pad_l=pad_l,
            pad_r=or_default(pad_r, pad_l),
            pad_t=or_default(pad_t, pad_l),
            pad_b=or_default(pad_b, pad_l),
        )

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        sides = (self.pad_l, self.pad_r, self.pad_t, self.pad_b)
        height, width = input.shape[-2:]
        if width + self.pad_l + self.pad_r < 1 or height + self.pad_t + self.pad_b < 1:
            raise ValueError(f"{self.torch_name} cuts off more than there is of {shape_of(input)}")
        return functional.pad(input, sides, self.mode)

    def described(self) -> str:
        return f"{self.torch_name}(l={self.pad_l},r={self.pad_r},t={self.pad_t},b={self.pad_b})"


@torch_class("SpatialZeroPadding")
class SpatialZeroPadding(_SpatialPadding):
    mode = "constant"


@torch_class("SpatialReflectionPadding")
class SpatialReflectionPadding(_SpatialPadding):
    mode = "reflect"


@torch_class("SpatialReplicationPadding")
class SpatialReplicationPadding(_SpatialPadding):
    mode = "replicate"


@torch_class("VolumetricReplicationPadding")
class VolumetricReplicationPadding(TorchModule, nn.Module):
    names = ("pleft", "pright", "ptop", "pbottom", "pfront", "pback")
    lua_fields = TorchModule.lua_fields | {name: name for name in names}

    def __init__(
        self,
        pleft: int | None = None,
        pright: int | None = None,
        ptop: int | None = None,
        pbottom: int | None = None,
        pfront: int | None = None,
        pback: int | None = None,
    ) -> None:
        super().__init__()
        given = zip(self.names, (pleft, pright, ptop, pbottom, pfront, pback), strict=True)
        sides = {name: or_default(side, pleft) for name, side in given}
        self.pleft, self.pright, self.ptop, self.pbottom, self.pfront, self.pback = any_whole_numbers(
            "nn.VolumetricReplicationPadding(1, 1, 1, 1, 1, 1)", **sides
        )

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 4, 5)
        return functional.pad(input, [getattr(self, name) for name in self.names], "replicate")

    def described(self) -> str:
        said = ("left", "right", "top", "bottom", "front", "back")
        sides = (f"{word}={getattr(self, name)}" for word, name in zip(said, self.names, strict=True))
        return f"{self.torch_name}({', '.join(sides)})"


@torch_class("Padding")
class Padding(TorchModule, nn.Module):
    """Puts `pad` times a value into a dimension: after it, or before it when `pad` is negative.

    With `index` it goes that many places further inside. With `nInputDim` a further dimension of the input is the batch.
    """

    lua_fields = TorchModule.lua_fields | {name: name for name in ("dim", "pad", "nInputDim", "value", "index")}

    def __init__(
        self,
        dim: int | None = None,
        pad: int | None = None,
        nInputDim: int | None = None,
        value: float | None = None,
        index: int | None = None,
    ) -> None:
        super().__init__()
        usage = "nn.Padding(1, 2, 3)"
        (self.dim,) = whole_numbers(usage, dim=dim)
        (self.pad,) = any_whole_numbers(usage, pad=pad)
        (self.index,) = whole_numbers(usage, index=or_default(index, 1))
        self.nInputDim = None if nInputDim is None else whole_numbers(usage, nInputDim=nInputDim)[0]
        self.value = real_number(usage, "value", value, 0)

    def forward(self, input: Tensor) -> Tensor:
        has_batch = self.nInputDim is not None and input.dim() != self.nInputDim
        axis = dimension(self.dim + has_batch, input.dim())
        length = input.shape[axis]
        # Torch counts `index` from the end at which it pads.
        before = length - self.index + 1 if self.pad > 0 else self.index - 1
        if not 0 <= before <= length:
            raise ValueError(f"nn.Padding cannot pad at index {self.index} of a dimension of {length}")
        shape = list(input.shape)
        shape[axis] = abs(self.pad)
        filling = input.new_full(shape, self.value)
        parts = [input.narrow(axis, 0, before), filling, input.narrow(axis, before, length - before)]
        return torch.cat(parts, axis)


class _Scaled(TorchModule, nn.Module):
    """Larger by a whole factor."""

    lua_fields = TorchModule.lua_fields | {"scale_factor": "scale_factor"}
    sides: ClassVar[int]

    def __init__(self, scale_factor: int | None = None) -> None:
        super().__init__()
        (self.scale_factor,) = whole_numbers(f"{self.torch_name}(2)", scale_factor=scale_factor)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, self.sides + 1, self.sides + 2)
        return with_batch(self._larger, input, self.sides + 1)

    def _larger(self, images: Tensor) -> Tensor:
        return functional.interpolate(images, scale_factor=self.scale_factor, mode="nearest")

    def described(self) -> str:
        return f"{self.torch_name}({self.scale_factor})"


@torch_class("SpatialUpSamplingNearest")
class SpatialUpSamplingNearest(_Scaled):
    sides = 2


@torch_class("VolumetricUpSamplingNearest")
class VolumetricUpSamplingNearest(_Scaled):
    sides = 3


@torch_class("SpatialUpSamplingBilinear")
class SpatialUpSamplingBilinear(TorchModule, nn.Module):
    """To a factor, or to a size: `{oheight = 64, owidth = 64}`. Corners of input and output are the same."""

    lua_fields = TorchModule.lua_fields | {name: name for name in ("scale_factor", "oheight", "owidth")}

    def __init__(self, scale: int | dict[str, Any] | None = None) -> None:
        super().__init__()
        self.scale_factor: int | None = None
        self.oheight: int | None = None
        self.owidth: int | None = None
        if isinstance(scale, dict):
            usage = f"{self.torch_name}({{oheight = 64, owidth = 64}})"
            sizes = {name: scale.get(name) for name in ("oheight", "owidth")}
            self.oheight, self.owidth = whole_numbers(usage, **sizes)
        elif isinstance(scale, list):
            usage = f"{self.torch_name}({{oheight = 64, owidth = 64}})"
            raise BadArgument(f"{self.torch_name} got {as_lua(scale)} without oheight and owidth, as in {usage}")
        else:
            (self.scale_factor,) = whole_numbers(f"{self.torch_name}(2)", scale_factor=scale)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        return with_batch(self._resized, input, 3)

    def _resized(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if self.oheight is not None and self.owidth is not None:
            height, width = self.oheight, self.owidth
        elif self.scale_factor is not None:
            height, width = height * self.scale_factor, width * self.scale_factor
        return functional.interpolate(images, (height, width), mode="bilinear", align_corners=True)

    def described(self) -> str:
        said = f"{self.oheight}, {self.owidth}" if self.scale_factor is None else str(self.scale_factor)
        return f"{self.torch_name}({said})"


@torch_class("PixelShuffle")
class PixelShuffle(TorchModule, nn.PixelShuffle):
    """Makes height and width of planes: r × r planes become one that is r times as high and wide."""

    lua_fields = TorchModule.lua_fields | {"upscaleFactor": "upscale_factor"}

    def __init__(self, upscaleFactor: int | None = None) -> None:
        super().__init__(*whole_numbers("nn.PixelShuffle(2)", upscaleFactor=upscaleFactor))
