"""Torch's functions of single values, and of all values of a slice: ReLU, Tanh, SoftMax and their kind.

Where Torch may work in place the flag is kept, and the result is a new tensor: autograd needs the old values.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import BadArgument, TorchModule, lua_method, torch_class
from jobs.torch7.sizes import as_lua


class MaybeInPlace(TorchModule):
    """A function that Torch may compute in place."""

    lua_fields = TorchModule.lua_fields | {"inplace": "in_place"}
    in_place: bool


@torch_class("ReLU")
class ReLU(MaybeInPlace, nn.ReLU):
    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.in_place = bool(in_place)


@torch_class("ReLU6")
class ReLU6(MaybeInPlace, nn.ReLU6):
    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.in_place = bool(in_place)


@torch_class("Threshold")
class Threshold(MaybeInPlace, nn.Threshold):
    """The value where it is above the threshold, elsewhere the replacement."""

    lua_fields = MaybeInPlace.lua_fields | {"threshold": "threshold", "val": "value"}

    def __init__(self, threshold: float = 1e-6, value: float = 0, in_place: bool = False) -> None:
        super().__init__(threshold, value)
        self.in_place = bool(in_place)


@torch_class("LeakyReLU")
class LeakyReLU(MaybeInPlace, nn.LeakyReLU):
    lua_fields = MaybeInPlace.lua_fields | {"negval": "negative_slope"}

    def __init__(self, negative_slope: float | bool = 0.01, in_place: bool = False) -> None:
        # nn.LeakyReLU(true) asks for the usual slope, in place.
        is_flag = isinstance(negative_slope, bool)
        super().__init__(0.01 if is_flag else negative_slope)
        self.in_place = bool(negative_slope if is_flag else in_place)

    def described(self) -> str:
        return f"{self.torch_name}({self.negative_slope:g})"


@torch_class("RReLU")
class RReLU(MaybeInPlace, nn.RReLU):
    """LeakyReLU with a slope that is drawn anew for every value while the network trains."""

    lua_fields = MaybeInPlace.lua_fields | {"lower": "lower", "upper": "upper"}

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, in_place: bool = False) -> None:
        if not 0 <= lower <= upper:
            raise BadArgument(f"{self.torch_name} got slopes from {lower:g} to {upper:g}; it takes 0 ≤ lower ≤ upper")
        super().__init__(lower, upper)
        self.in_place = bool(in_place)

    def described(self) -> str:
        return f"{self.torch_name} (l:{self.lower:f}, u:{self.upper:f})"


@torch_class("PReLU")
class PReLU(TorchModule, nn.PReLU):
    """LeakyReLU whose slope is learnt: one for all values, or one for every plane."""

    lua_fields = TorchModule.lua_fields | {"nOutputPlane": "planes"}

    def __init__(self, planes: int = 0) -> None:
        super().__init__(planes or 1)
        self.planes = planes

    def forward(self, input: Tensor) -> Tensor:
        if self.planes and input.dim() % 2:
            # One image without its batch: planes come first.
            return super().forward(input.unsqueeze(0)).squeeze(0)
        return super().forward(input)


@torch_class("ELU")
class ELU(MaybeInPlace, nn.ELU):
    lua_fields = MaybeInPlace.lua_fields | {"alpha": "alpha"}

    def __init__(self, alpha: float = 1.0, in_place: bool = False) -> None:
        super().__init__(alpha)
        self.in_place = bool(in_place)

    def described(self) -> str:
        return f"{self.torch_name} (alpha:{self.alpha:f})"


@torch_class("CReLU")
class CReLU(MaybeInPlace, nn.Module):
    """ReLU of the values and of their negatives, as twice as many planes."""

    lua_fields = MaybeInPlace.lua_fields | {"nInputDims": "input_dims"}

    def __init__(self, input_dims: int, in_place: bool = False) -> None:
        super().__init__()
        self.input_dims = input_dims
        self.in_place = bool(in_place)

    def forward(self, input: Tensor) -> Tensor:
        planes = 1 if input.dim() == self.input_dims + 1 else 0
        return functional.relu(torch.cat([input, -input], planes))


@torch_class("HardTanh")
class HardTanh(MaybeInPlace, nn.Hardtanh):
    lua_fields = MaybeInPlace.lua_fields | {"min_val": "min_val", "max_val": "max_val"}

    def __init__(self, minimum: float = -1, maximum: float = 1, in_place: bool = False) -> None:
        if minimum >= maximum:
            raise BadArgument(
                f"{self.torch_name} got limits from {minimum:g} to {maximum:g}; the second must be larger"
            )
        super().__init__(minimum, maximum)
        self.in_place = bool(in_place)


@torch_class("ClippedReLU")
class ClippedReLU(HardTanh):
    """cudnn's: ReLU up to a ceiling."""

    lua_fields = MaybeInPlace.lua_fields | {"ceiling": "max_val"}

    def __init__(self, ceiling: float | None = None, in_place: bool = False) -> None:
        if isinstance(ceiling, bool) or not isinstance(ceiling, int | float) or ceiling <= 0:
            raise BadArgument(
                f"{self.torch_name} got {as_lua(ceiling)}; it takes a ceiling above 0, as in {self.torch_name}(6)"
            )
        super().__init__(0, ceiling, in_place)


@torch_class("Clamp")
class Clamp(HardTanh):
    def __init__(self, minimum: float, maximum: float) -> None:
        super().__init__(minimum, maximum)


@torch_class("Tanh")
class Tanh(TorchModule, nn.Tanh):
    pass


@torch_class("TanhShrink")
class TanhShrink(TorchModule, nn.Tanhshrink):
    pass


@torch_class("Sigmoid")
class Sigmoid(TorchModule, nn.Sigmoid):
    pass


@torch_class("LogSigmoid")
class LogSigmoid(TorchModule, nn.LogSigmoid):
    pass


@torch_class("SoftSign")
class SoftSign(TorchModule, nn.Softsign):
    pass


@torch_class("SoftPlus")
class SoftPlus(TorchModule, nn.Softplus):
    lua_fields = TorchModule.lua_fields | {"beta": "beta", "threshold": "threshold"}

    def __init__(self, beta: float = 1) -> None:
        super().__init__(beta)


@torch_class("SoftShrink")
class SoftShrink(TorchModule, nn.Softshrink):
    lua_fields = TorchModule.lua_fields | {"lambda": "lambd"}

    def __init__(self, limit: float = 0.5) -> None:
        super().__init__(limit)


@torch_class("HardShrink")
class HardShrink(TorchModule, nn.Hardshrink):
    lua_fields = TorchModule.lua_fields | {"lambda": "lambd"}

    def __init__(self, limit: float = 0.5) -> None:
        super().__init__(limit)


@torch_class("GatedLinearUnit")
class GatedLinearUnit(TorchModule, nn.Module):
    """The first half of the values, each times the sigmoid of its partner in the second half."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return functional.glu(input, -1 if self.dim is None else self.dim - 1)


@torch_class("Abs")
class Abs(TorchModule, nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        # At zero Torch's gradient is 1 where PyTorch's is 0.
        return torch.where(input >= 0, input, -input)


def softmax_dimension(name: str, input: Tensor) -> int:
    """Where Torch's soft maxima look for classes: beside the batch when there is one, among planes in an image."""
    if not 1 <= input.dim() <= 4:
        raise ValueError(f"{name} takes one to four dimensions; the input has {input.dim()}")
    return 0 if input.dim() in (1, 3) else 1


def volume_dimension(name: str, input: Tensor) -> int:
    if input.dim() not in (4, 5):
        raise ValueError(f"{name} takes four or five dimensions; the input has {input.dim()}")
    return input.dim() - 4


@torch_class("SoftMax")
class SoftMax(TorchModule, nn.Softmax):
    def forward(self, input: Tensor) -> Tensor:
        return functional.softmax(input, softmax_dimension(self.torch_name, input))


@torch_class("SoftMin")
class SoftMin(TorchModule, nn.Softmin):
    def forward(self, input: Tensor) -> Tensor:
        return functional.softmin(input, softmax_dimension(self.torch_name, input))


@torch_class("LogSoftMax")
class LogSoftMax(TorchModule, nn.LogSoftmax):
    def forward(self, input: Tensor) -> Tensor:
        return functional.log_softmax(input, softmax_dimension(self.torch_name, input))


@torch_class("SpatialSoftMax")
class SpatialSoftMax(SoftMax):
    """SoftMax over the planes of an image."""


@torch_class("SpatialLogSoftMax")
class SpatialLogSoftMax(LogSoftMax):
    """LogSoftMax over the planes of an image."""


@torch_class("VolumetricSoftMax")
class VolumetricSoftMax(TorchModule, nn.Softmax):
    """cudnn's, over the planes of a volume."""

    def forward(self, input: Tensor) -> Tensor:
        return functional.softmax(input, volume_dimension(self.torch_name, input))


@torch_class("VolumetricLogSoftMax")
class VolumetricLogSoftMax(TorchModule, nn.LogSoftmax):
    """cudnn's."""

    def forward(self, input: Tensor) -> Tensor:
        return functional.log_softmax(input, volume_dimension(self.torch_name, input))


class _ReversedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return input.view_as(input)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradients[0], None


@torch_class("GradientReversal")
class GradientReversal(TorchModule, nn.Module):
    """Gives its input; what is behind it learns to make the loss larger."""

    lua_fields = TorchModule.lua_fields | {"lambda": "factor"}

    def __init__(self, factor: float = 1) -> None:
        super().__init__()
        self.factor = factor

    @lua_method("setLambda")
    def set_factor(self, factor: float) -> None:
        self.factor = factor

    def forward(self, input: Tensor) -> Tensor:
        reversed_: Tensor = _ReversedGradient.apply(input, self.factor)  # type: ignore[no-untyped-call]
        return reversed_


class _WithPenalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: float) -> Tensor:
        ctx.save_for_backward(input)
        ctx.weight = weight
        return input.view_as(input)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (input,) = ctx.saved_tensors
        return gradients[0] + ctx.weight * input.sign(), None


@torch_class("L1Penalty")
class L1Penalty(TorchModule, nn.Module):
    """Gives its input; its values are drawn to zero, as by a loss of the weight times the sum of their sizes.

    As in Torch the loss that is shown does not contain it.
    """

    lua_fields = TorchModule.lua_fields | {"l1weight": "penalty", "sizeAverage": "size_average"}

    def __init__(self, penalty: float, size_average: bool = False) -> None:
        super().__init__()
        self.penalty = penalty
        self.size_average = bool(size_average)

    def forward(self, input: Tensor) -> Tensor:
        weight = self.penalty / input.numel() if self.size_average else self.penalty
        output: Tensor = _WithPenalty.apply(input, weight)  # type: ignore[no-untyped-call]
        return output
