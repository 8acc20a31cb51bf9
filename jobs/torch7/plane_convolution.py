"""Convolutions that keep planes or places apart: each plane its own, each place its own, planes joined by a table."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import BadArgument, TorchModule, lua_method, refuse_absurd_size, torch_class
from jobs.torch7.sizes import (
    WINDOW,
    Window,
    as_lua,
    by_commas,
    by_crosses,
    check_dimensions,
    draw_uniformly,
    in_torch_order,
    or_default,
    shape_of,
    whole_numbers,
    with_batch,
)


class _PlaneConvolution(Window, TorchModule, nn.Module):
    """A window over images with weights that are not those of PyTorch's convolutions."""

    lua_fields = TorchModule.lua_fields | WINDOW | {"nInputPlane": "nInputPlane", "nOutputPlane": "nOutputPlane"}
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self, usage: str, kW: int | None, kH: int | None, dW: int | None, dH: int | None, padW: int | None = None,
        padH: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        width, height = whole_numbers(usage, kW=kW, kH=kH)
        across, down = whole_numbers(usage, dW=or_default(dW, 1), dH=or_default(dH, 1))
        padW = or_default(padW, 0)
        beside, above = whole_numbers(usage, 0, padW=padW, padH=or_default(padH, padW))
        self.kernel_size = (height, width)
        self.stride = (down, across)
        self.padding = (above, beside)

    def reset_parameters(self) -> None:
        draw_uniformly(1 / math.sqrt(math.prod(self.kernel_size) * self.fan_in_planes()), self.weight, self.bias)

    def fan_in_planes(self) -> int:
        return self.nInputPlane

    nInputPlane: int
    nOutputPlane: int

    @lua_method("noBias")
    def remove_bias(self) -> None:
        self.bias = None

    def window_said(self) -> str:
        """The window as Torch prints it after a layer's planes."""
        parts = [by_crosses(in_torch_order(self.kernel_size))]
        is_padded = any(self.padding)
        if is_padded or set(self.stride) != {1}:
            parts.append(by_commas(in_torch_order(self.stride)))
        if is_padded:
            parts.append(by_commas(in_torch_order(self.padding)))
        return ", ".join(parts)

    def without_bias(self) -> str:
        return " without bias" if self.bias is None else ""


@torch_class("SpatialDepthWiseConvolution")
class SpatialDepthWiseConvolution(_PlaneConvolution):
    """Each input plane gives output planes of its own, which follow each other."""

    def __init__(
        self,
        nInputPlane: int | None = None,
        depthwiseMultiplier: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
    ) -> None:
        usage = f"{self.torch_name}(16, 2, 3, 3)"
        super().__init__(usage, kW, kH, dW, dH, padW, padH)
        inputs, times = whole_numbers(usage, nInputPlane=nInputPlane, depthwiseMultiplier=depthwiseMultiplier)
        refuse_absurd_size(self.torch_name, inputs, times, *self.kernel_size)
        self.nInputPlane, self.nOutputPlane = inputs, inputs * times
        self.weight = nn.Parameter(torch.empty(times, inputs, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(times, inputs))
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight.transpose(0, 1).reshape(-1, 1, *self.kernel_size)
        bias = None if self.bias is None else self.bias.t().reshape(-1)
        return functional.conv2d(input, weight, bias, self.stride, self.padding, groups=self.nInputPlane)

    def described(self) -> str:
        times = self.weight.shape[0]
        return f"{self.torch_name}({self.nInputPlane} -> {times}, {self.window_said()}){self.without_bias()}"


@torch_class("SpatialConvolutionLocal")
class SpatialConvolutionLocal(_PlaneConvolution):
    """A convolution with weights of its own at every place, so for images of one size."""

    lua_fields = _PlaneConvolution.lua_fields | {name: name for name in ("iW", "iH", "oW", "oH")}

    def __init__(
        self,
        nInputPlane: int | None = None,
        nOutputPlane: int | None = None,
        iW: int | None = None,
        iH: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padW: int | None = None,
        padH: int | None = None,
    ) -> None:
        usage = f"{self.torch_name}(3, 16, 32, 32, 5, 5)"
        super().__init__(usage, kW, kH, dW, dH, padW, padH)
        sizes = whole_numbers(usage, nInputPlane=nInputPlane, nOutputPlane=nOutputPlane, iW=iW, iH=iH)
        self.nInputPlane, self.nOutputPlane, self.iW, self.iH = sizes
        self.oW = (2 * self.padW + self.iW - self.kW) // self.dW + 1
        self.oH = (2 * self.padH + self.iH - self.kH) // self.dH + 1
        if self.oW < 1 or self.oH < 1:
            image = f"images of {self.iW}x{self.iH}"
            raise BadArgument(f"{self.torch_name} got {image}, which are smaller than its window, {self.kW}x{self.kH}")
        shape = (self.oH, self.oW, self.nOutputPlane, self.nInputPlane, self.kH, self.kW)
        refuse_absurd_size(self.torch_name, *shape)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(self.nOutputPlane, self.oH, self.oW))
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        wanted = (self.nInputPlane, self.iH, self.iW)
        if tuple(input.shape[-3:]) != wanted:
            raise ValueError(f"{self.torch_name} takes images of {by_crosses(wanted)}; it got {shape_of(input)}")
        return with_batch(self._of_batch, input, 3)

    def _of_batch(self, images: Tensor) -> Tensor:
        windows = functional.unfold(images, self.kernel_size, padding=self.padding, stride=self.stride)
        weight = self.weight.reshape(self.oH * self.oW, self.nOutputPlane, -1)
        output = torch.einsum("nvp,pov->nop", windows, weight).reshape(len(images), -1, self.oH, self.oW)
        return output if self.bias is None else output + self.bias

    def described(self) -> str:
        sizes = f"{self.nInputPlane} -> {self.nOutputPlane}, {self.iW}x{self.iH}, {self.window_said()}"
        return f"{self.torch_name}({sizes}){self.without_bias()}"


@torch_class("SpatialConvolutionMap")
class SpatialConvolutionMap(_PlaneConvolution):
    """A convolution of some pairs of planes: `connTable` has a row (input plane, output plane) for each."""

    lua_fields = _PlaneConvolution.lua_fields | {"connTable": "connTable"}
    connTable: Tensor

    def __init__(
        self,
        connTable: Tensor | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
    ) -> None:
        usage = f"{self.torch_name}(nn.tables.full(3, 16), 5, 5)"
        super().__init__(usage, kW, kH, dW, dH)
        if (
            not isinstance(connTable, Tensor)
            or connTable.dim() != 2
            or connTable.shape[1] != 2
            or (connTable < 1).any()
        ):
            raise BadArgument(f"{self.torch_name} got {as_lua(connTable)}; it takes pairs of planes, as in {usage}")
        self.register_buffer("connTable", connTable.long(), persistent=False)
        inputs, outputs = connTable.long().amax(0).tolist()
        refuse_absurd_size(self.torch_name, inputs, outputs, *self.kernel_size)
        self.nInputPlane, self.nOutputPlane = inputs, outputs
        self.weight = nn.Parameter(torch.empty(len(connTable), *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Each output plane by the number of input planes that it has."""
        to = self.connTable[:, 1] - 1
        bounds = (math.prod(self.kernel_size) * to.bincount(minlength=self.nOutputPlane)).to(self.weight).rsqrt()
        draw_uniformly(1, self.weight, self.bias)
        self.weight.data.mul_(bounds[to].reshape(-1, 1, 1))
        if self.bias is not None:
            # A plane that nothing leads to has no inputs to count.
            self.bias.data.mul_(bounds.nan_to_num(posinf=0))

    def forward(self, input: Tensor) -> Tensor:
        origin, to = (self.connTable - 1).unbind(1)
        blank = self.weight.new_zeros(self.nOutputPlane, self.nInputPlane, *self.kernel_size)
        weight = blank.index_put((to, origin), self.weight, accumulate=True)
        return functional.conv2d(input, weight, self.bias, self.stride)


@torch_class("SpatialFullConvolutionMap")
class SpatialFullConvolutionMap(SpatialConvolutionMap):
    """The transposed convolution of some pairs of planes."""

    def forward(self, input: Tensor) -> Tensor:
        origin, to = (self.connTable - 1).unbind(1)
        blank = self.weight.new_zeros(self.nInputPlane, self.nOutputPlane, *self.kernel_size)
        weight = blank.index_put((origin, to), self.weight, accumulate=True)
        return functional.conv_transpose2d(input, weight, self.bias, self.stride)


@torch_class("SpatialSubSampling")
class SpatialSubSampling(_PlaneConvolution):
    """The sum of a window, times a number for each plane, plus another."""

    def __init__(
        self,
        nInputPlane: int | None = None,
        kW: int | None = None,
        kH: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
    ) -> None:
        usage = f"{self.torch_name}(16, 2, 2, 2, 2)"
        super().__init__(usage, kW, kH, dW, dH)
        (planes,) = whole_numbers(usage, nInputPlane=nInputPlane)
        refuse_absurd_size(self.torch_name, planes)
        self.nInputPlane = self.nOutputPlane = planes
        self.weight = nn.Parameter(torch.empty(planes))
        self.bias = nn.Parameter(torch.empty(planes))
        self.reset_parameters()

    def fan_in_planes(self) -> int:
        return 1

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        if input.shape[-3] != self.nInputPlane:
            raise ValueError(f"{self.torch_name} takes {self.nInputPlane} planes; it got {shape_of(input)}")
        sums = functional.avg_pool2d(input, self.kernel_size, self.stride, divisor_override=1)
        scaled = sums * self.weight.reshape(-1, 1, 1)
        return scaled if self.bias is None else scaled + self.bias.reshape(-1, 1, 1)
