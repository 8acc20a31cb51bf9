"""Layers over sequences, which Torch lays out as frames × features, where PyTorch has features first."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import TorchModule, lua_method, refuse_absurd_size, torch_class
from jobs.torch7.sizes import (
    check_dimensions,
    draw_uniformly,
    is_true,
    or_default,
    real_number,
    shape_of,
    whole_numbers,
)

WINDOW = {"kW": "kW", "dW": "dW", "inputFrameSize": "inputFrameSize"}


def check_frames(name: str, input: Tensor, features: int | None, window: int) -> None:
    """ValueError for what is no sequence, has other features, or is shorter than the window."""
    check_dimensions(name, input, 2, 3)
    if features is not None and input.shape[-1] != features:
        raise ValueError(f"{name} takes frames of {features} values; it got {shape_of(input)}")
    if input.shape[-2] < window:
        raise ValueError(f"{name} takes sequences of at least {window} frames; it got {shape_of(input)}")


@torch_class("TemporalConvolution")
class TemporalConvolution(TorchModule, nn.Module):
    """The weights of an output are those of the window's frames, one after the other."""

    lua_fields = TorchModule.lua_fields | WINDOW | {"outputFrameSize": "outputFrameSize"}

    def __init__(
        self,
        inputFrameSize: int | None = None,
        outputFrameSize: int | None = None,
        kW: int | None = None,
        dW: int | None = None,
    ) -> None:
        usage = "nn.TemporalConvolution(71, 256, 7)"
        inputs, outputs = whole_numbers(usage, inputFrameSize=inputFrameSize, outputFrameSize=outputFrameSize)
        width, step = whole_numbers(usage, kW=kW, dW=or_default(dW, 1))
        refuse_absurd_size(self.torch_name, inputs, outputs, width)
        super().__init__()
        self.inputFrameSize, self.outputFrameSize, self.kW, self.dW = inputs, outputs, width, step
        self.weight = nn.Parameter(torch.empty(outputs, width * inputs))
        self.bias: nn.Parameter | None = nn.Parameter(torch.empty(outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        draw_uniformly(1 / math.sqrt(self.weight.shape[1]), self.weight, self.bias)

    @lua_method("noBias")
    def remove_bias(self) -> None:
        self.bias = None

    def forward(self, input: Tensor) -> Tensor:
        check_frames(self.torch_name, input, self.inputFrameSize, self.kW)
        weight = self.weight.reshape(-1, self.kW, self.inputFrameSize).transpose(1, 2)
        return functional.conv1d(input.transpose(-1, -2), weight, self.bias, self.dW).transpose(-1, -2)


@torch_class("TemporalRowConvolution")
class TemporalRowConvolution(TorchModule, nn.Module):
    """A convolution of each feature by itself. With `featFirst` input and output are features × frames."""

    lua_fields = TorchModule.lua_fields | WINDOW | {"featFirst": "featFirst"}

    def __init__(
        self,
        inputFrameSize: int | None = None,
        kW: int | None = None,
        dW: int | None = None,
        featFirst: bool | None = None,
    ) -> None:
        usage = "nn.TemporalRowConvolution(64, 3)"
        features, width, step = whole_numbers(usage, inputFrameSize=inputFrameSize, kW=kW, dW=or_default(dW, 1))
        refuse_absurd_size(self.torch_name, features, width)
        super().__init__()
        self.inputFrameSize, self.kW, self.dW, self.featFirst = features, width, step, is_true(featFirst)
        self.weight = nn.Parameter(torch.empty(features, 1, width))
        self.bias: nn.Parameter | None = nn.Parameter(torch.empty(features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        draw_uniformly(1 / math.sqrt(self.kW * self.inputFrameSize), self.weight, self.bias)

    @lua_method("noBias")
    def remove_bias(self) -> None:
        self.bias = None

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 2, 3)
        frames_first = input.transpose(-1, -2) if self.featFirst else input
        check_frames(self.torch_name, frames_first, self.inputFrameSize, self.kW)
        features_first = frames_first.transpose(-1, -2)
        output = functional.conv1d(features_first, self.weight, self.bias, self.dW, groups=self.inputFrameSize)
        return output if self.featFirst else output.transpose(-1, -2)

    def described(self) -> str:
        step = f", {self.dW}" if self.dW != 1 else ""
        without = " without bias" if self.bias is None else ""
        return f"{self.torch_name}({self.inputFrameSize}, {self.kW}{step}){without}"


@torch_class("TemporalSubSampling")
class TemporalSubSampling(TorchModule, nn.Module):
    """The sum of a window's frames, times a number for each feature, plus another."""

    lua_fields = TorchModule.lua_fields | WINDOW

    def __init__(self, inputFrameSize: int | None = None, kW: int | None = None, dW: int | None = None) -> None:
        usage = "nn.TemporalSubSampling(64, 2, 2)"
        features, width, step = whole_numbers(usage, inputFrameSize=inputFrameSize, kW=kW, dW=or_default(dW, 1))
        refuse_absurd_size(self.torch_name, features)
        super().__init__()
        self.inputFrameSize, self.kW, self.dW = features, width, step
        self.weight = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.empty(features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        draw_uniformly(1 / math.sqrt(self.kW), self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        check_frames(self.torch_name, input, self.inputFrameSize, self.kW)
        return input.unfold(-2, self.kW, self.dW).sum(-1) * self.weight + self.bias


@torch_class("TemporalMaxPooling")
class TemporalMaxPooling(TorchModule, nn.Module):
    lua_fields = TorchModule.lua_fields | {"kW": "kW", "dW": "dW"}

    def __init__(self, kW: int | None = None, dW: int | None = None) -> None:
        super().__init__()
        self.kW, self.dW = whole_numbers("nn.TemporalMaxPooling(3, 3)", kW=kW, dW=or_default(dW, kW))

    def forward(self, input: Tensor) -> Tensor:
        check_frames(self.torch_name, input, None, self.kW)
        return functional.max_pool1d(input.transpose(-1, -2), self.kW, self.dW).transpose(-1, -2)


@torch_class("TemporalDynamicKMaxPooling")
class TemporalDynamicKMaxPooling(TorchModule, nn.Module):
    """Of each feature the k highest values in the order in which they come; k is a part of the frames, `minK` at least."""

    lua_fields = TorchModule.lua_fields | {"minK": "minK", "factor": "factor"}

    def __init__(self, minK: int | None = None, factor: float | None = None) -> None:
        super().__init__()
        usage = "nn.TemporalDynamicKMaxPooling(4, 0.5)"
        (self.minK,) = whole_numbers(usage, minK=minK)
        self.factor = real_number(usage, "factor", factor, 0)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 2, 3)
        frames = input.shape[-2]
        k = max(self.minK, math.ceil(self.factor * frames))
        if k > frames:
            raise ValueError(f"{self.torch_name} takes sequences of at least {k} frames; it got {shape_of(input)}")
        highest = input.topk(k, -2).indices.sort(-2).values
        return input.gather(-2, highest)
