"""Torch's modules and criteria in PyTorch's own words, where PyTorch has the same.

`twin(module, passes)` is an expression of Python such as "nn.Linear(784, 300)", or None where PyTorch has nothing that does
the same for what passes through the module: then it is the class of Torch itself, `torch7.View(-1)`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from jobs.torch7 import activations, arithmetic, convolution, criteria, dropout, linear, pooling, shapes

MOST_VALUES_WRITTEN = 64
LARGEST_WHOLE_WRITTEN = 10**9

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Pass:
    """The shapes, batch included, of a tensor that goes through a module and of what it gives."""

    given: Shape
    output: Shape


Twin = Callable[[Any, Sequence[Pass]], str | None]


class CannotWrite(ValueError):
    """A value that has no short form in Python."""


def call(function: str, *arguments: Any, **keywords: Any) -> str:
    given = [literal(argument) for argument in arguments]
    given += [f"{name}={literal(value)}" for name, value in keywords.items()]
    return f"{function}({', '.join(given)})"


def literal(value: Any) -> str:
    """A value as Python writes it. CannotWrite for what is no plain value."""
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, float):
        return _float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple):
        # One number is enough for sides that are all the same.
        return literal(value[0]) if len(set(value)) == 1 else f"({', '.join(map(literal, value))})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    raise CannotWrite(f"a value of type {type(value).__name__}")


def _tensor(value: Tensor) -> str:
    if value.numel() > 1 and bool((value == value.reshape(-1)[0]).all()):
        first = value.reshape(-1)[0].item()
        kind = "" if value.dtype == torch.float32 else f", dtype={value.dtype}"
        return f"torch.full({tuple(value.shape)}, {_floats(first) if value.is_floating_point() else first}{kind})"
    if value.numel() > MOST_VALUES_WRITTEN:
        raise CannotWrite(f"a tensor of {value.numel()} values")
    kind = "" if value.dtype == torch.float32 and value.numel() else f", dtype={value.dtype}"
    numbers = value.detach().cpu().tolist()
    return f"torch.tensor({_floats(numbers) if value.is_floating_point() else numbers}{kind})"


def to_write(head: str, lua: Sequence[str], what: str) -> str:
    """A function that a person has to write, with the lines of the Lua that tell what it has to do."""
    lines = [
        *(f"# {line}".rstrip() for line in lua),
        f"raise NotImplementedError({f'Write here what {what} computes.'!r})",
    ]
    return "\n".join([head, *(f"    {line}" for line in lines)])


def _floats(numbers: Any) -> str:
    if isinstance(numbers, list):
        return f"[{', '.join(map(_floats, numbers))}]"
    if not math.isfinite(numbers):
        return _float(numbers)
    # Seven digits are all that a float of 32 bits has; nine tell any two apart.
    shorter = (float(f"{numbers:.{digits}g}") for digits in (7, 9))
    return repr(next((short for short in shorter if torch.tensor(short).item() == numbers), numbers))


def _float(number: float) -> str:
    is_whole = number.is_integer() and abs(number) < LARGEST_WHOLE_WRITTEN
    return str(int(number)) if is_whole else repr(number) if math.isfinite(number) else f'float("{number}")'


def twin(module: nn.Module, passes: Sequence[Pass]) -> str | None:
    """`passes` are all that went through the module when the network was tried."""
    describe = TWINS.get(type(module))
    return None if describe is None else describe(module, passes)


def _same(name: str, *attributes: str) -> Twin:
    """PyTorch's class with the values of these attributes as its arguments."""
    return lambda module, passes: call(f"nn.{name}", *(getattr(module, attribute) for attribute in attributes))


def _linear(module: linear.Linear, passes: Sequence[Pass]) -> str:
    return call(
        "nn.Linear", module.in_features, module.out_features, **_unless_usual(bias=(module.bias is not None, True))
    )


def _unless_usual(**values: tuple[Any, Any]) -> dict[str, Any]:
    """Of keywords with a value and the usual one, those whose value is another."""
    return {name: value for name, (value, usual) in values.items() if value != usual}


def _convolution(module: _ConvNd, passes: Sequence[Pass]) -> str | None:
    if module.groups != 1:
        # Torch draws their first weights otherwise.
        return None
    keywords = _unless_usual(
        stride=(module.stride, (1, 1)),
        padding=(module.padding, (0, 0)),
        dilation=(module.dilation, (1, 1)),
        bias=(module.bias is not None, True),
    )
    return call("nn.Conv2d", module.in_channels, module.out_channels, module.kernel_size, **keywords)


def _max_pooling(module: pooling.SpatialMaxPooling, passes: Sequence[Pass]) -> str | None:
    if module.return_indices:
        return None
    dilation = _unless_usual(dilation=(module.dilation, (1, 1)))
    return call("nn.MaxPool2d", module.kernel_size, **_window(module), **dilation)


def _average_pooling(module: pooling.SpatialAveragePooling, passes: Sequence[Pass]) -> str | None:
    if not module.divide:
        return None
    padding = _unless_usual(count_include_pad=(module.count_include_pad, True))
    return call("nn.AvgPool2d", module.kernel_size, **_window(module), **padding)


def _window(module: Any) -> dict[str, Any]:
    return _unless_usual(
        stride=(module.stride, module.kernel_size),
        padding=(module.padding, (0, 0)),
        ceil_mode=(module.ceil_mode, False),
    )


def _reshaping(module: nn.Module, passes: Sequence[Pass]) -> str | None:
    """Flatten or Unflatten where every batch stayed one."""
    if not passes or len({(one.given[1:], one.output[1:]) for one in passes}) != 1:
        return None
    given, output = passes[0].given, passes[0].output
    if len(given) < 2 or len(output) < 2 or given[0] != output[0] or math.prod(given) != math.prod(output):
        return None
    if len(output) == 2:
        return "nn.Flatten()"
    sides = ", ".join(map(str, output[1:]))
    return f"nn.Unflatten(1, ({sides}))" if len(given) == 2 else None


def _soft_maximum(name: str) -> Twin:
    def describe(module: nn.Module, passes: Sequence[Pass]) -> str | None:
        # Torch looks at an image of its own where there are three dimensions, or one.
        has_batch = all(len(one.given) in (2, 4) for one in passes)
        return f"nn.{name}(dim=1)" if has_batch else None

    return describe


def _dropout(module: dropout.Dropout, passes: Sequence[Pass]) -> str | None:
    return call("nn.Dropout", module.p) if module.grows and not module.always else None


def _prelu(module: activations.PReLU, passes: Sequence[Pass]) -> str | None:
    if module.planes and not all(len(one.given) in (2, 4) for one in passes):
        return None
    return call("nn.PReLU", *([module.planes] if module.planes else []))


def _scale(module: arithmetic.MulConstant, passes: Sequence[Pass]) -> str:
    return call("Scale", module.constant)


def _regression(name: str) -> Twin:
    def describe(module: Any, passes: Sequence[Pass]) -> str | None:
        # PyTorch's do not compare shapes by the number of values: `passes` are output and target here.
        if not passes or any(one.given != one.output for one in passes):
            return None
        return call(f"nn.{name}", **({} if module.size_average else {"reduction": "sum"}))

    return describe


TWINS: dict[type[nn.Module], Twin] = {
    linear.Linear: _linear,
    convolution.SpatialConvolution: _convolution,
    convolution.SpatialConvolutionMM: _convolution,
    convolution.SpatialDilatedConvolution: _convolution,
    pooling.SpatialMaxPooling: _max_pooling,
    pooling.SpatialDilatedMaxPooling: _max_pooling,
    pooling.SpatialAveragePooling: _average_pooling,
    activations.ReLU: _same("ReLU"),
    activations.ReLU6: _same("ReLU6"),
    activations.Threshold: _same("Threshold", "threshold", "value"),
    activations.LeakyReLU: _same("LeakyReLU", "negative_slope"),
    activations.ELU: _same("ELU", "alpha"),
    activations.PReLU: _prelu,
    activations.HardTanh: _same("Hardtanh", "min_val", "max_val"),
    activations.Clamp: _same("Hardtanh", "min_val", "max_val"),
    activations.Tanh: _same("Tanh"),
    activations.TanhShrink: _same("Tanhshrink"),
    activations.Sigmoid: _same("Sigmoid"),
    activations.LogSigmoid: _same("LogSigmoid"),
    activations.SoftSign: _same("Softsign"),
    activations.SoftPlus: _same("Softplus", "beta"),
    activations.SoftShrink: _same("Softshrink", "lambd"),
    activations.HardShrink: _same("Hardshrink", "lambd"),
    activations.SoftMax: _soft_maximum("Softmax"),
    activations.SoftMin: _soft_maximum("Softmin"),
    activations.LogSoftMax: _soft_maximum("LogSoftmax"),
    activations.SpatialSoftMax: _soft_maximum("Softmax"),
    activations.SpatialLogSoftMax: _soft_maximum("LogSoftmax"),
    arithmetic.MulConstant: _scale,
    dropout.Dropout: _dropout,
    shapes.Identity: _same("Identity"),
    shapes.View: _reshaping,
    shapes.Reshape: _reshaping,
    shapes.Collapse: _reshaping,
    criteria.MSECriterion: _regression("MSELoss"),
    criteria.AbsCriterion: _regression("L1Loss"),
    criteria.SmoothL1Criterion: _regression("SmoothL1Loss"),
}
