"""Layers of weights that know no place: Linear and its kin, and what adds or multiplies one number a value."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import BadArgument, Table, TorchModule, lua_method, refuse_absurd_size, torch_class
from jobs.torch7.sizes import as_lua, check_dimensions, draw_uniformly, is_true, shape_of, whole_numbers


def length(vectors: Tensor, axis: int, keepdim: bool = False) -> Tensor:
    """Of vectors that lie along an axis. The gradient of a length of zero is zero."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=axis, keepdim=keepdim)
    return lengths


@torch_class("Linear")
class Linear(TorchModule, nn.Linear):
    usage = "nn.Linear(784, 300)"

    def __init__(self, inputSize: int | None = None, outputSize: int | None = None, bias: bool | None = None) -> None:
        inputs, outputs = whole_numbers(self.usage, inputSize=inputSize, outputSize=outputSize)
        refuse_absurd_size(self.torch_name, inputs, outputs)
        super().__init__(inputs, outputs, bias is None or is_true(bias))

    @lua_method("noBias")
    def remove_bias(self) -> None:
        self.bias = None  # type: ignore[assignment]  # nn.Module takes None out of its parameters

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 1, 2)
        return super().forward(input)

    def described(self) -> str:
        without = " without bias" if self.bias is None else ""
        return f"{self.torch_name}({self.in_features} -> {self.out_features}){without}"


@torch_class("PartialLinear")
class PartialLinear(Linear):
    """Linear of which only some outputs may be computed: those of the partition, counted from 1."""

    usage = "nn.PartialLinear(784, 300)"
    partition: Tensor | None

    def __init__(self, inputSize: int | None = None, outputSize: int | None = None, bias: bool | None = None) -> None:
        super().__init__(inputSize, outputSize, bias)
        self.register_buffer("partition", None, persistent=False)

    @lua_method("setPartition")
    def set_partition(self, outputs: Tensor | list[int] | None = None) -> None:
        places = torch.as_tensor([] if outputs is None else outputs, dtype=torch.long).flatten() - 1
        if len(places) == 0 or int(places.min()) < 0 or int(places.max()) >= self.out_features:
            raise BadArgument(f"{self.torch_name}:setPartition takes numbers of outputs, from 1 to {self.out_features}")
        self.partition = places.to(self.weight.device)

    @lua_method("resetPartition")
    def reset_partition(self) -> None:
        self.partition = None

    def forward(self, input: Tensor) -> Tensor:
        if self.partition is None:
            return super().forward(input)
        check_dimensions(self.torch_name, input, 1, 2)
        bias = None if self.bias is None else self.bias.index_select(0, self.partition)
        return functional.linear(input, self.weight.index_select(0, self.partition), bias)

    def described(self) -> str:
        return self.torch_name


@torch_class("LinearWeightNorm")
class LinearWeightNorm(TorchModule, nn.Module):
    """Linear whose weights are a direction `v` and a length `g` for each output."""

    usage = "nn.LinearWeightNorm(784, 300)"
    lua_fields = TorchModule.lua_fields | {"v": "v", "g": "g"}
    bias: nn.Parameter | None

    def __init__(self, inputSize: int | None = None, outputSize: int | None = None, bias: bool | None = None) -> None:
        inputs, outputs = whole_numbers(self.usage, inputSize=inputSize, outputSize=outputSize)
        refuse_absurd_size(self.torch_name, inputs, outputs)
        super().__init__()
        self.v = nn.Parameter(torch.empty(outputs, inputs))
        self.g = nn.Parameter(torch.empty(outputs, 1))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias is None or is_true(bias) else None
        self.reset()

    @property
    def weight(self) -> Tensor:
        return self.v * (self.g / length(self.v, 1, keepdim=True))

    @lua_method("reset")
    def reset(self, std: float | None = None) -> None:
        bound = 1 / math.sqrt(self.v.shape[1]) if std is None else std * math.sqrt(3)
        draw_uniformly(bound, self.v)
        self.g.data.copy_(length(self.v.data, 1, keepdim=True))
        draw_uniformly(bound, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 1, 2)
        return functional.linear(input, self.weight, self.bias)

    def described(self) -> str:
        outputs, inputs = self.v.shape
        return f"{self.torch_name}({inputs} -> {outputs}){' without bias' if self.bias is None else ''}"


@torch_class("Bilinear")
class Bilinear(TorchModule, nn.Bilinear):
    """Two vectors and a matrix between them for each output; the input is a table of the two."""

    usage = "nn.Bilinear(10, 20, 5)"

    def __init__(
        self,
        inputSize1: int | None = None,
        inputSize2: int | None = None,
        outputSize: int | None = None,
        bias: bool | None = None,
    ) -> None:
        given = {"inputSize1": inputSize1, "inputSize2": inputSize2, "outputSize": outputSize}
        first, second, outputs = whole_numbers(self.usage, **given)
        refuse_absurd_size(self.torch_name, first, second, outputs)
        super().__init__(first, second, outputs, bias is None or is_true(bias))

    def forward(self, inputs: Table) -> Tensor:  # type: ignore[override]  # a layer of Torch has one input
        if not isinstance(inputs, list) or len(inputs) != 2:
            raise ValueError(f"{self.torch_name} takes a table of two tensors; it got {as_lua(inputs)}")
        for tensor in inputs:
            check_dimensions(self.torch_name, tensor, 2)
        return super().forward(inputs[0], inputs[1])

    def described(self) -> str:
        sizes = f"({self.in1_features}x{self.in2_features} -> {self.out_features})"
        return f"{self.torch_name}{sizes}{' without bias' if self.bias is None else ''}"


def spread(values: Tensor, input: Tensor, name: str) -> Tensor:
    """A layer's values in a shape that fits its input: as they are, by dimensions of one, or the same for each sample."""
    if values.numel() == input.numel():
        return values.reshape(input.shape)
    if values.dim() == input.dim() or values.numel() == 1:
        return values if values.dim() == input.dim() else values.reshape([1] * input.dim())
    if values.numel() * input.shape[0] != input.numel():
        raise ValueError(f"{name} has {values.numel()} values; it got an input of {shape_of(input)}")
    return values.reshape(1, *input.shape[1:])


class _Values(TorchModule, nn.Module):
    """A layer of one parameter of any shape, which is drawn between ± 1 / root of its number of values."""

    parameter_name = "weight"

    def __init__(self, *sizes: int) -> None:
        refuse_absurd_size(self.torch_name, *sizes)
        super().__init__()
        self.register_parameter(self.parameter_name, nn.Parameter(torch.empty(*sizes)))
        self.reset_parameters()

    @property
    def values(self) -> Tensor:
        return self.get_parameter(self.parameter_name)

    def reset_parameters(self) -> None:
        draw_uniformly(1 / math.sqrt(self.values.numel()), self.values)


def _sizes(usage: str, *sizes: Any) -> list[int]:
    """Sizes one by one or in one table."""
    given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], list) else sizes
    if not given:
        raise BadArgument(f"{usage.partition('(')[0]} needs the sizes of its values, as in {usage}")
    return [whole_numbers(usage, **{f"size {number}": size})[0] for number, size in enumerate(given, 1)]


@torch_class("Add")
class Add(_Values):
    """Adds a number to each value of a sample, or one number to all."""

    parameter_name = "bias"

    def __init__(self, inputSize: int | None = None, scalar: bool | None = None) -> None:
        size = [1] if is_true(scalar) else whole_numbers("nn.Add(300)", inputSize=inputSize)
        super().__init__(*size)

    def forward(self, input: Tensor) -> Tensor:
        return input + spread(self.values, input, self.torch_name)


@torch_class("CAdd")
class CAdd(_Values):
    parameter_name = "bias"

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*_sizes("nn.CAdd(1, 16, 1, 1)", *sizes))

    def forward(self, input: Tensor) -> Tensor:
        return input + spread(self.values, input, self.torch_name)


@torch_class("Mul")
class Mul(_Values):
    """Multiplies all with one number."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:
        return input * self.values


@torch_class("CMul")
class CMul(_Values):
    def __init__(self, *sizes: Any) -> None:
        super().__init__(*_sizes("nn.CMul(1, 16, 1, 1)", *sizes))

    def forward(self, input: Tensor) -> Tensor:
        return input * spread(self.values, input, self.torch_name)


@torch_class("Cosine")
class Cosine(TorchModule, nn.Module):
    """The cosine between the input and each output's weights."""

    tiny = 1e-12

    def __init__(self, inputSize: int | None = None, outputSize: int | None = None) -> None:
        inputs, outputs = whole_numbers("nn.Cosine(300, 10)", inputSize=inputSize, outputSize=outputSize)
        refuse_absurd_size(self.torch_name, inputs, outputs)
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        # By the number of outputs: so it is in Torch.
        draw_uniformly(1 / math.sqrt(self.weight.shape[0]), self.weight)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 1, 2)
        own, given = length(self.weight, 1), length(input, -1, keepdim=True)
        return functional.linear(input, self.weight) / ((own + self.tiny) * (given + self.tiny))


@torch_class("Euclidean")
class Euclidean(TorchModule, nn.Module):
    """The distance between the input and each output's weights, which are a column."""

    def __init__(self, inputSize: int | None = None, outputSize: int | None = None) -> None:
        usage = f"{self.torch_name}(300, 10)"
        inputs, outputs = whole_numbers(usage, inputSize=inputSize, outputSize=outputSize)
        refuse_absurd_size(self.torch_name, inputs, outputs)
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        draw_uniformly(1 / math.sqrt(self.weight.shape[0]), self.weight)

    def differences(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 1, 2)
        return input.unsqueeze(-1) - self.weight

    def forward(self, input: Tensor) -> Tensor:
        return length(self.differences(input), -2)


@torch_class("WeightedEuclidean")
class WeightedEuclidean(Euclidean):
    """Euclidean in which each value of each output has a factor, 1 at first."""

    lua_fields = TorchModule.lua_fields | {"diagCov": "diagCov"}

    def __init__(self, inputSize: int | None = None, outputSize: int | None = None) -> None:
        super().__init__(inputSize, outputSize)
        self.diagCov = nn.Parameter(torch.ones_like(self.weight))

    @lua_method("reset")
    def reset(self, std: float | None = None) -> None:
        if std is None:
            self.reset_parameters()
        else:
            draw_uniformly(std * math.sqrt(3), self.weight)
        self.diagCov.data.fill_(1)

    def forward(self, input: Tensor) -> Tensor:
        return length(self.differences(input) * self.diagCov, -2)
