"""Pooling of images and volumes. Torch's defaults: maxima step by their window, averages of images by one."""

import math
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import BadArgument, TorchModule, lua_method, torch_class
from jobs.torch7.sizes import (
    VOLUME_WINDOW,
    WINDOW,
    Side,
    VolumeWindow,
    Window,
    by_commas,
    by_crosses,
    check_dimensions,
    in_torch_order,
    or_default,
    real_number,
    shape_of,
    whole_numbers,
)


class _Pooling(TorchModule, nn.Module):
    """What all that pools has: floor and ceil, and how Torch prints it."""

    kernel_size: Any
    stride: Any
    padding: Any
    ceil_mode: bool

    @lua_method("ceil")
    def round_up(self) -> None:
        """A last window that lies half outside counts too."""
        self.ceil_mode = True

    @lua_method("floor")
    def round_down(self) -> None:
        self.ceil_mode = False

    def described(self) -> str:
        parts = [by_crosses(in_torch_order(self.kernel_size)), by_commas(in_torch_order(self.stride))]
        if any(self.padding):
            parts.append(by_commas(in_torch_order(self.padding)))
        return f"{self.torch_name}({', '.join([*parts, *self.more_said()])})"

    def more_said(self) -> list[str]:
        return []


Sides = tuple[int, ...]
Pair = tuple[int, int]
Triple = tuple[int, int, int]


def image_window(
    usage: str,
    kernel: tuple[int | None, int | None],
    steps: tuple[int | None, int | None],
    padding: tuple[int | None, int | None],
) -> tuple[Pair, Pair, Pair]:
    """Torch's (width, height) of window, steps and padding as PyTorch's (height, width)."""
    width, height = whole_numbers(usage, kW=kernel[0], kH=kernel[1])
    across, down = whole_numbers(usage, dW=steps[0], dH=steps[1])
    beside, above = whole_numbers(usage, 0, padW=or_default(padding[0], 0), padH=or_default(padding[1], 0))
    _check_padding(usage, (width, height), (beside, above))
    return (height, width), (down, across), (above, beside)


def volume_window(
    usage: str,
    kernel: tuple[int | None, int | None, int | None],
    steps: tuple[int | None, int | None, int | None],
    padding: tuple[int | None, int | None, int | None],
) -> tuple[Triple, Triple, Triple]:
    """The same with time before the two."""
    time, width, height = whole_numbers(usage, kT=kernel[0], kW=kernel[1], kH=kernel[2])
    later, across, down = whole_numbers(
        usage, dT=or_default(steps[0], time), dW=or_default(steps[1], width), dH=or_default(steps[2], height)
    )
    before, beside, above = whole_numbers(
        usage, 0, padT=or_default(padding[0], 0), padW=or_default(padding[1], 0), padH=or_default(padding[2], 0)
    )
    _check_padding(usage, (time, width, height), (before, beside, above))
    return (time, height, width), (later, down, across), (before, above, beside)


def _check_padding(usage: str, kernel: Sides, padding: Sides) -> None:
    if any(2 * pad > side for pad, side in zip(padding, kernel, strict=True)):
        said = f"padding {by_commas(padding)} for a window of {by_crosses(kernel)}"
        raise BadArgument(f"{usage.partition('(')[0]} got {said}; at most half of the window may be padding")


class _MaxPooling(_Pooling):
    """Remembers where the maxima were when an unpooling asks for it by `return_indices`."""

    return_indices: bool
    indices: Tensor | None = None
    input_sides: Sides = ()

    def forward(self, input: Tensor) -> Tensor:
        sides = len(self.kernel_size)
        check_dimensions(self.torch_name, input, sides + 1, sides + 2)
        pooled = super().forward(input)
        if self.return_indices:
            pooled, self.indices = pooled
            self.input_sides = tuple(input.shape[-sides:])
        return pooled  # type: ignore[no-any-return]


@torch_class("SpatialMaxPooling")
class SpatialMaxPooling(Window, _MaxPooling, nn.MaxPool2d):
    lua_fields = TorchModule.lua_fields | WINDOW | {"ceil_mode": "ceil_mode", "indices": "indices"}

    def __init__(
        self,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
        *,
        dilation: tuple[int, int] = (1, 1),
    ) -> None:
        usage = f"{self.torch_name}(2, 2, 2, 2)"
        steps = (or_default(dW, kW), or_default(dH, kH))
        super().__init__(*image_window(usage, (kW, kH), steps, (padW, padH)), dilation)


@torch_class("SpatialDilatedMaxPooling")
class SpatialDilatedMaxPooling(SpatialMaxPooling):
    lua_fields = SpatialMaxPooling.lua_fields | {"dilationW": "dilationW", "dilationH": "dilationH"}
    dilationW = Side("dilation", -1)
    dilationH = Side("dilation", -2)

    def __init__(
        self,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
        dilationW: int | None = None,
        dilationH: int | None = None,
    ) -> None:
        across, down = whole_numbers(
            f"{self.torch_name}(3, 3, 1, 1, 0, 0, 2, 2)",
            dilationW=or_default(dilationW, 1),
            dilationH=or_default(dilationH, 1),
        )
        super().__init__(kW, kH, dW, dH, padW, padH, dilation=(down, across))

    def more_said(self) -> list[str]:
        dilation: Any = self.dilation
        return [by_commas(in_torch_order(dilation))]


@torch_class("VolumetricMaxPooling")
class VolumetricMaxPooling(VolumeWindow, _MaxPooling, nn.MaxPool3d):
    lua_fields = TorchModule.lua_fields | VOLUME_WINDOW | {"ceil_mode": "ceil_mode", "indices": "indices"}

    def __init__(
        self,
        kT: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
        *,
        dilation: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        usage = f"{self.torch_name}(2, 2, 2)"
        super().__init__(*volume_window(usage, (kT, kW, kH), (dT, dW, dH), (padT, padW, padH)), dilation)


@torch_class("VolumetricDilatedMaxPooling")
class VolumetricDilatedMaxPooling(VolumetricMaxPooling):
    lua_fields = VolumetricMaxPooling.lua_fields | {name: name for name in ("dilationT", "dilationW", "dilationH")}
    dilationT = Side("dilation", -3)
    dilationW = Side("dilation", -1)
    dilationH = Side("dilation", -2)

    def __init__(
        self,
        kT: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
        dilationT: int | None = None,
        dilationW: int | None = None,
        dilationH: int | None = None,
    ) -> None:
        later, across, down = whole_numbers(
            f"{self.torch_name}(2, 3, 3, 1, 1, 1, 0, 0, 0, 2, 2, 2)",
            dilationT=or_default(dilationT, 1),
            dilationW=or_default(dilationW, 1),
            dilationH=or_default(dilationH, 1),
        )
        super().__init__(kT, kW, kH, dT, dW, dH, padT, padW, padH, dilation=(later, down, across))

    def more_said(self) -> list[str]:
        dilation: Any = self.dilation
        return [by_commas(in_torch_order(dilation))]


class _MaxUnpooling(TorchModule, nn.Module):
    """Puts values back where the maxima of a pooling layer were, which comes before it in the network."""

    pooling_kind: ClassVar[type[_MaxPooling]]

    def __init__(self, pooling: nn.Module | None = None) -> None:
        super().__init__()
        wanted = self.pooling_kind.torch_name
        if type(pooling) is not self.pooling_kind:
            raise BadArgument(f"{self.torch_name} needs the {wanted} that it undoes, as in {self.torch_name}(pool)")
        if tuple(pooling.kernel_size) != tuple(pooling.stride):
            raise BadArgument(f"{self.torch_name} got {pooling.described()}, whose step must be as large as its window")
        pooling.return_indices = True
        # In a tuple it is no part of this layer: its place in the network is another.
        self._undoes = (pooling,)

    @property
    def pooling(self) -> _MaxPooling:
        return self._undoes[0]

    def forward(self, input: Tensor) -> Tensor:
        indices, sides = self.pooling.indices, self.pooling.input_sides
        if indices is None or indices.shape != input.shape:
            found = "has not run" if indices is None else f"gave {shape_of(indices)}"
            raise ValueError(f"{self.torch_name} got {shape_of(input)}, and {self.pooling.described()} {found}")
        planes = input.shape[: -len(sides)]
        blank = input.new_zeros(*planes, math.prod(sides))
        places = indices.reshape(*planes, -1)
        return blank.scatter(-1, places, input.reshape(*planes, -1)).reshape(*planes, *sides)

    def described(self) -> str:
        return f"{self.torch_name} associated to {self.pooling.described()}"


@torch_class("SpatialMaxUnpooling")
class SpatialMaxUnpooling(_MaxUnpooling):
    pooling_kind = SpatialMaxPooling


@torch_class("VolumetricMaxUnpooling")
class VolumetricMaxUnpooling(_MaxUnpooling):
    pooling_kind = VolumetricMaxPooling


class _AveragePooling(_Pooling):
    """Padding counts as zeros unless setCountExcludePad is called."""

    count_include_pad: bool
    # Old files have it false: sums instead of averages.
    divide = True

    @lua_method("setCountIncludePad")
    def count_padding(self) -> None:
        self.count_include_pad = True

    @lua_method("setCountExcludePad")
    def leave_padding_out(self) -> None:
        self.count_include_pad = False

    def forward(self, input: Tensor) -> Tensor:
        sides = len(self.kernel_size)
        check_dimensions(self.torch_name, input, sides + 1, sides + 2)
        averages: Tensor = super().forward(input)
        return averages if self.divide else averages * math.prod(self.kernel_size)


AVERAGE = {name: name for name in ("ceil_mode", "count_include_pad", "divide")}


@torch_class("SpatialAveragePooling")
class SpatialAveragePooling(Window, _AveragePooling, nn.AvgPool2d):
    lua_fields = TorchModule.lua_fields | WINDOW | AVERAGE

    def __init__(
        self,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
    ) -> None:
        steps = (or_default(dW, 1), or_default(dH, 1))
        super().__init__(*image_window(f"{self.torch_name}(7, 7)", (kW, kH), steps, (padW, padH)))


@torch_class("VolumetricAveragePooling")
class VolumetricAveragePooling(VolumeWindow, _AveragePooling, nn.AvgPool3d):
    lua_fields = TorchModule.lua_fields | VOLUME_WINDOW | AVERAGE

    def __init__(
        self,
        kT: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
    ) -> None:
        usage = f"{self.torch_name}(2, 2, 2)"
        super().__init__(*volume_window(usage, (kT, kW, kH), (dT, dW, dH), (padT, padW, padH)))


@torch_class("SpatialLPPooling")
class SpatialLPPooling(Window, _Pooling):
    """The p-th root of the average of p-th powers in a window; PyTorch's takes their sum."""

    lua_fields = TorchModule.lua_fields | WINDOW | {"pnorm": "pnorm"}

    def __init__(
        self,
        nInputPlane: int | None = None,
        pnorm: float | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
    ) -> None:
        super().__init__()
        usage = f"{self.torch_name}(16, 2, 2, 2)"
        whole_numbers(usage, nInputPlane=nInputPlane)
        self.pnorm = real_number(usage, "pnorm", pnorm, 2)
        steps = (or_default(dW, kW), or_default(dH, kH))
        self.kernel_size, self.stride, self.padding = image_window(usage, (kW, kH), steps, (0, 0))

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        averages = functional.avg_pool2d(input.pow(self.pnorm), self.kernel_size, self.stride)
        # Where all is 0 the root's slope is infinite; Torch gives 0 back there.
        is_blank = averages == 0
        return averages.masked_fill(is_blank, 1).pow(1 / self.pnorm).masked_fill(is_blank, 0)

    def described(self) -> str:
        return self.torch_name
