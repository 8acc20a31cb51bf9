"""What Torch7's criteria share: a target brought into the output's shape, classes counted from 1, a mean or a sum.

Torch only asks for as many values in the target as in the output: a target takes the output's shape, and is never
stretched over it.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from jobs.networks.names import image_shape_name
from jobs.torch7.module import BadArgument, Criterion

# The class that ClassNLLCriterion leaves out when it is told none.
IGNORED_CLASS = -100


def in_shape_of(name: str, output: Tensor, target: Tensor) -> Tensor:
    """The target's values in the output's shape; ValueError where there are more or fewer."""
    if target.numel() != output.numel():
        raise ValueError(
            f"{name} compares value with value: the output has the shape {image_shape_name(output.shape)} "
            f"and the target {image_shape_name(target.shape)}"
        )
    target = target.reshape(output.shape)
    return target if target.is_floating_point() else target.to(output.dtype)


def refuse_other_dimensions(name: str, output: Tensor, takes: str, *dimensions: int) -> None:
    if output.dim() not in dimensions:
        raise ValueError(f"{name} takes {takes}; the output has the shape {image_shape_name(output.shape)}")


def as_tensor(name: str, output: Tensor, target: Tensor | float | None) -> Tensor:
    """A hook may give one sample's target as a number."""
    if target is None:
        raise ValueError(f"{name} needs a target, and got nil")
    return target if isinstance(target, Tensor) else output.new_full((1,), target)


def pair(name: str, outputs: Any) -> tuple[Tensor, Tensor]:
    """The two outputs of a network that ends in a table, in the shape of the first."""
    if not isinstance(outputs, list | tuple) or len(outputs) != 2:
        found = f"a table of {len(outputs)}" if isinstance(outputs, list | tuple) else "a tensor"
        raise ValueError(
            f"{name} compares two outputs with each other, and got {found}; the model must give a table of two"
        )
    first, second = outputs
    return first, in_shape_of(name, first, second)


def first_side(output: Tensor) -> int:
    """What Torch divides by where it counts samples."""
    return output.shape[0] if output.dim() else 1


def classes_of(name: str, output: Tensor, target: Tensor, shape: Sequence[int]) -> Tensor:
    """The target as classes, in this shape."""
    if target.numel() != math.prod(shape):
        raise ValueError(
            f"{name} takes one class for each sample: the output has the shape {image_shape_name(output.shape)} "
            f"and the target {image_shape_name(target.shape)}"
        )
    return target.reshape(tuple(shape)).long()


@contextmanager
def counting_from_one(
    name: str, classes: Tensor, count: int, lowest: int = 1, ignored: int = IGNORED_CLASS
) -> Iterator[None]:
    """Say which class the output does not have, where torch finds one. On a GPU torch stops everything instead."""
    try:
        yield
    except (IndexError, RuntimeError) as error:
        if classes.device.type != "cpu":
            raise
        wrong = classes[((classes < lowest) | (classes > count)) & (classes != ignored)]
        if wrong.numel() == 0:
            raise
        raise ValueError(f"{name} got the class {wrong[0].item()}; Torch counts classes from 1 to {count}") from error


def class_weights(name: str, weights: Tensor | None) -> Tensor | None:
    """One weight a class, as Lua gave them."""
    if weights is None:
        return None
    if not isinstance(weights, Tensor) or weights.dim() != 1:
        raise BadArgument(f"{name} takes its weights as a tensor of one dimension: {name}(torch.Tensor({{1, 2, 3}}))")
    return weights.float()


class AveragingCriterion(Criterion):
    """A criterion that takes the mean, or the sum where `sizeAverage` is false."""

    lua_fields = Criterion.lua_fields | {"sizeAverage": "size_average"}

    def __init__(self, size_average: bool | None = None) -> None:
        super().__init__()
        self.size_average = True if size_average is None else size_average

    @property
    def reduction(self) -> str:
        return "mean" if self.size_average else "sum"

    def reduced(self, losses: Tensor, count: int) -> Tensor:
        return losses.sum() / count if self.size_average else losses.sum()


class OutputCriterion(AveragingCriterion):
    """A criterion for the one output of a network."""

    def forward(self, output: Any, target: Any) -> Tensor:
        for what, value in (("output", output), ("target", target)):
            if isinstance(value, list | tuple):
                raise ValueError(
                    f"{self.torch_name} compares one output with one target, and the {what} is a table of {len(value)}; "
                    "nn.ParallelCriterion takes tables"
                )
        return self.loss(output, as_tensor(self.torch_name, output, target))

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor: ...


class PairCriterion(AveragingCriterion):
    """A criterion for the two outputs of a network that ends in a table."""

    def forward(self, outputs: Any, target: Any) -> Tensor:
        first, second = pair(self.torch_name, outputs)
        return self.loss(first, second, as_tensor(self.torch_name, first, target))

    @abstractmethod
    def loss(self, first: Tensor, second: Tensor, target: Tensor) -> Tensor: ...


class WeightingCriterion(OutputCriterion):
    """A criterion that may weigh classes."""

    lua_fields = AveragingCriterion.lua_fields | {"weights": "weights"}
    weights: Tensor | None

    def __init__(self, weights: Tensor | None = None, size_average: bool | None = None) -> None:
        super().__init__(size_average)
        self.register_buffer("weights", class_weights(self.torch_name, weights))


class MarginalCriterion(AveragingCriterion):
    """A criterion that asks for a distance."""

    lua_fields = AveragingCriterion.lua_fields | {"margin": "margin"}
    default_margin = 1.0

    def __init__(self, margin: float | None = None, size_average: bool | None = None) -> None:
        super().__init__(size_average)
        self.margin = self.default_margin if margin is None else margin
