"""Convolutions as Torch gives their arguments: width before height, planes for channels."""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from jobs.torch7.module import BadArgument, Table, TorchModule, lua_method, refuse_absurd_size, torch_class
from jobs.torch7.sizes import (
    VOLUME_WINDOW,
    WINDOW,
    Side,
    VolumeWindow,
    Window,
    by_commas,
    by_crosses,
    draw_uniformly,
    in_torch_order,
    or_default,
    whole_numbers,
)

PLANES = {"nInputPlane": "in_channels", "nOutputPlane": "out_channels", "groups": "groups"}
ADJUSTMENT = {"adjW": "adjW", "adjH": "adjH"}


class _Convolution(TorchModule, _ConvNd):
    """What PyTorch's convolutions need to be Torch's: the first weights, noBias, and how Torch prints them."""

    def reset_parameters(self) -> None:
        # PyTorch counts a unit's inputs by the weights' second dimension. With groups that is not the number of input
        # planes, which Torch takes; in a full convolution it is the number of output planes.
        if self.groups == 1 and not self.transposed:
            super().reset_parameters()
        else:
            draw_uniformly(1 / math.sqrt(math.prod(self.kernel_size) * self.in_channels), self.weight, self.bias)

    @lua_method("noBias")
    def remove_bias(self) -> None:
        self.bias = None

    def described(self) -> str:
        parts = [f"{self.in_channels} -> {self.out_channels}", by_crosses(in_torch_order(self.kernel_size))]
        padding: Any = self.padding
        is_padded = any(padding)
        if is_padded or set(self.stride) != {1}:
            parts.append(by_commas(in_torch_order(self.stride)))
        if is_padded:
            parts.append(by_commas(in_torch_order(padding)))
        parts += self.more_said()
        return f"{self.torch_name}({', '.join(parts)}){' without bias' if self.bias is None else ''}"

    def more_said(self) -> list[str]:
        return []


def planes(usage: str, groups: int, **sizes: int | None) -> tuple[int, int]:
    """The numbers of input and output planes, which must be multiples of the groups."""
    inputs, outputs = whole_numbers(usage, **sizes)
    whole_numbers(usage, groups=groups)
    if inputs % groups or outputs % groups:
        name = usage.partition("(")[0]
        raise BadArgument(f"{name} got {inputs} and {outputs} planes; both must be multiples of its {groups} groups")
    return inputs, outputs


@torch_class("SpatialConvolution")
class SpatialConvolution(Window, _Convolution, nn.Conv2d):
    """The ninth argument is cudnn's."""

    lua_fields = TorchModule.lua_fields | WINDOW | PLANES

    def __init__(
        self,
        nInputPlane: int | None = None,
        nOutputPlane: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
        groups: int | None = None,
        *,
        dilation: tuple[int, int] = (1, 1),
    ) -> None:
        usage = f"{self.torch_name}(3, 16, 5, 5)"
        groups = 1 if groups is None else groups
        inputs, outputs = planes(usage, groups, nInputPlane=nInputPlane, nOutputPlane=nOutputPlane)
        width, height = whole_numbers(usage, kW=kW, kH=kH)
        across, down = whole_numbers(usage, dW=or_default(dW, 1), dH=or_default(dH, 1))
        padW = or_default(padW, 0)
        beside, above = whole_numbers(usage, 0, padW=padW, padH=or_default(padH, padW))
        refuse_absurd_size(self.torch_name, inputs // groups, outputs, width, height)
        super().__init__(
            inputs, outputs, (height, width), (down, across), (above, beside), groups=groups, dilation=dilation
        )


@torch_class("SpatialConvolutionMM")
class SpatialConvolutionMM(SpatialConvolution):
    """The same; Torch has two because they compute it in two ways."""


@torch_class("SpatialDilatedConvolution")
class SpatialDilatedConvolution(SpatialConvolution):
    lua_fields = SpatialConvolution.lua_fields | {"dilationW": "dilationW", "dilationH": "dilationH"}
    dilationW = Side("dilation", -1)
    dilationH = Side("dilation", -2)

    def __init__(
        self,
        nInputPlane: int | None = None,
        nOutputPlane: int | None = None,
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
            f"{self.torch_name}(3, 16, 3, 3, 1, 1, 2, 2, 2, 2)",
            dilationW=or_default(dilationW, 1),
            dilationH=or_default(dilationH, 1),
        )
        super().__init__(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH, dilation=(down, across))

    def more_said(self) -> list[str]:
        return [by_commas(in_torch_order(self.dilation))]


class _FullConvolution(_Convolution):
    """A convolution backwards, which makes images larger; `adj` is how much beyond what the window covers."""

    def check_adjustment(self) -> None:
        if any(adjusted >= max(step, 1) for adjusted, step in zip(self.output_padding, self.stride, strict=True)):
            adjusted, steps = (by_commas(in_torch_order(sides)) for sides in (self.output_padding, self.stride))
            raise BadArgument(f"{self.torch_name} got adj {adjusted}; each must be smaller than its step, {steps}")

    def more_said(self) -> list[str]:
        return [by_commas(in_torch_order(self.output_padding))] if any(self.output_padding) else []

    def adjustment_for(self, target: Tensor) -> list[int]:
        """The adj with which the output gets the target's height and width."""
        sides = target.shape[-len(self.kernel_size) :]
        padding: Any = self.padding
        windows = zip(sides, padding, self.kernel_size, self.stride, strict=True)
        return [(side + 2 * pad - window) % step for side, pad, window, step in windows]


@torch_class("SpatialFullConvolution")
class SpatialFullConvolution(Window, _FullConvolution, nn.ConvTranspose2d):
    """The input is a tensor, or a table of it and a tensor whose height and width the output is to have."""

    lua_fields = TorchModule.lua_fields | WINDOW | PLANES | ADJUSTMENT
    adjW = Side("output_padding", -1)
    adjH = Side("output_padding", -2)

    def __init__(
        self,
        nInputPlane: int | None = None,
        nOutputPlane: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
        adjW: int | None = None,
        adjH: int | None = None,
    ) -> None:
        usage = f"{self.torch_name}(16, 1, 4, 4, 2, 2, 1, 1)"
        inputs, outputs, width, height = whole_numbers(
            usage, nInputPlane=nInputPlane, nOutputPlane=nOutputPlane, kW=kW, kH=kH
        )
        across, down = whole_numbers(usage, dW=or_default(dW, 1), dH=or_default(dH, 1))
        # Unlike a convolution's, padH is 0 when it is left out.
        beside, above, right, below = whole_numbers(
            usage,
            0,
            padW=or_default(padW, 0),
            padH=or_default(padH, 0),
            adjW=or_default(adjW, 0),
            adjH=or_default(adjH, 0),
        )
        refuse_absurd_size(self.torch_name, inputs, outputs, width, height)
        super().__init__(inputs, outputs, (height, width), (down, across), (above, beside), (below, right))
        self.check_adjustment()

    def forward(self, input: Tensor | Table, output_size: list[int] | None = None) -> Tensor:
        if isinstance(input, Tensor):
            return super().forward(input, output_size)
        images, target = input
        padding: Any = self.padding
        return functional.conv_transpose2d(
            images, self.weight, self.bias, self.stride, padding, self.adjustment_for(target)
        )


@torch_class("VolumetricConvolution")
class VolumetricConvolution(VolumeWindow, _Convolution, nn.Conv3d):
    lua_fields = TorchModule.lua_fields | VOLUME_WINDOW | PLANES

    def __init__(
        self,
        nInputPlane: int | None = None,
        nOutputPlane: int | None = None,
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
        usage = f"{self.torch_name}(3, 16, 3, 5, 5)"
        inputs, outputs, time, width, height = whole_numbers(
            usage, nInputPlane=nInputPlane, nOutputPlane=nOutputPlane, kT=kT, kW=kW, kH=kH
        )
        later, across, down = steps_of_volume(usage, dT, dW, dH)
        padT = or_default(padT, 0)
        padW = or_default(padW, padT)
        before, beside, above = whole_numbers(usage, 0, padT=padT, padW=padW, padH=or_default(padH, padW))
        refuse_absurd_size(self.torch_name, inputs, outputs, time, width, height)
        super().__init__(
            inputs, outputs, (time, height, width), (later, down, across), (before, above, beside), dilation
        )


def steps_of_volume(usage: str, dT: int | None, dW: int | None, dH: int | None) -> tuple[int, ...]:
    return whole_numbers(usage, dT=or_default(dT, 1), dW=or_default(dW, 1), dH=or_default(dH, 1))


@torch_class("VolumetricDilatedConvolution")
class VolumetricDilatedConvolution(VolumetricConvolution):
    lua_fields = VolumetricConvolution.lua_fields | {name: name for name in ("dilationT", "dilationW", "dilationH")}
    dilationT = Side("dilation", -3)
    dilationW = Side("dilation", -1)
    dilationH = Side("dilation", -2)

    def __init__(
        self,
        nInputPlane: int | None = None,
        nOutputPlane: int | None = None,
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
            f"{self.torch_name}(3, 16, 3, 3, 3, 1, 1, 1, 2, 2, 2, 2, 2, 2)",
            dilationT=or_default(dilationT, 1),
            dilationW=or_default(dilationW, 1),
            dilationH=or_default(dilationH, 1),
        )
        window = (kT, kW, kH, dT, dW, dH, padT, padW, padH)
        super().__init__(nInputPlane, nOutputPlane, *window, dilation=(later, down, across))

    def more_said(self) -> list[str]:
        return [by_commas(in_torch_order(self.dilation))]


@torch_class("VolumetricFullConvolution")
class VolumetricFullConvolution(VolumeWindow, _FullConvolution, nn.ConvTranspose3d):
    lua_fields = TorchModule.lua_fields | VOLUME_WINDOW | PLANES | ADJUSTMENT | {"adjT": "adjT"}
    adjT = Side("output_padding", -3)
    adjW = Side("output_padding", -1)
    adjH = Side("output_padding", -2)

    def __init__(
        self,
        nInputPlane: int | None = None,
        nOutputPlane: int | None = None,
        kT: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
        adjT: int | None = None,
        adjW: int | None = None,
        adjH: int | None = None,
    ) -> None:
        usage = f"{self.torch_name}(16, 1, 2, 4, 4, 2, 2, 2)"
        inputs, outputs, time, width, height = whole_numbers(
            usage, nInputPlane=nInputPlane, nOutputPlane=nOutputPlane, kT=kT, kW=kW, kH=kH
        )
        later, across, down = steps_of_volume(usage, dT, dW, dH)
        given = {"padT": padT, "padW": padW, "padH": padH, "adjT": adjT, "adjW": adjW, "adjH": adjH}
        before, beside, above, after, right, below = whole_numbers(
            usage, 0, **{name: or_default(value, 0) for name, value in given.items()}
        )
        refuse_absurd_size(self.torch_name, inputs, outputs, time, width, height)
        window = (time, height, width), (later, down, across), (before, above, beside), (after, below, right)
        super().__init__(inputs, outputs, *window)
        self.check_adjustment()

    def forward(self, input: Tensor | Table, output_size: list[int] | None = None) -> Tensor:
        if isinstance(input, Tensor):
            return super().forward(input, output_size)
        volumes, target = input
        padding: Any = self.padding
        return functional.conv_transpose3d(
            volumes, self.weight, self.bias, self.stride, padding, self.adjustment_for(target)
        )
