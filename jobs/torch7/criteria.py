"""Torch7's criteria: the losses that compare a network's output with a target."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.networks.names import image_shape_name
from jobs.torch7.module import BadArgument, Criterion, describe, lua_method, refuse_absurd_size, torch_class
from jobs.torch7.sizes import as_lua
from jobs.torch7.targets import (
    IGNORED_CLASS,
    AveragingCriterion,
    MarginalCriterion,
    OutputCriterion,
    PairCriterion,
    WeightingCriterion,
    classes_of,
    counting_from_one,
    first_side,
    in_shape_of,
    pair,
    refuse_other_dimensions,
)

# What Torch adds where a logarithm or a root would be that of zero.
EPSILON = 1e-12


# Regression


@torch_class("MSECriterion")
class MSECriterion(OutputCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output, in_shape_of(self.torch_name, output, target), reduction=self.reduction)


@torch_class("AbsCriterion")
class AbsCriterion(OutputCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.l1_loss(output, in_shape_of(self.torch_name, output, target), reduction=self.reduction)


@torch_class("SmoothL1Criterion")
class SmoothL1Criterion(OutputCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.smooth_l1_loss(output, in_shape_of(self.torch_name, output, target), reduction=self.reduction)


@torch_class("SpatialAutoCropMSECriterion")
class SpatialAutoCropMSECriterion(MSECriterion):
    """Compares with the middle of a target that is larger."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        height, width = output.shape[-2:]
        top, left = (target.shape[-2] - height) // 2, (target.shape[-1] - width) // 2
        if top < 0 or left < 0:
            raise ValueError(
                f"{self.torch_name} crops the target: it cannot be smaller than the output, and is "
                f"{image_shape_name(target.shape)} where the output is {image_shape_name(output.shape)}"
            )
        return super().loss(output, target[..., top : top + height, left : left + width])


@torch_class("DistKLDivCriterion")
class DistKLDivCriterion(OutputCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        target = in_shape_of(self.torch_name, output, target)
        # Its mean is over samples, with a warning; Torch's is over all values.
        return self.reduced(functional.kl_div(output, target, reduction="none"), output.numel())


@torch_class("L1Cost")
class L1Cost(Criterion):
    """The sum of the output's absolute values; there is no target."""

    def forward(self, output: Tensor, target: Any = None) -> Tensor:
        return output.abs().sum()


# Classes


class LikelihoodCriterion(WeightingCriterion):
    """The negative log-likelihood of one class for each sample; the mean is weighted as the classes are."""

    lua_fields = WeightingCriterion.lua_fields | {"ignoreIndex": "ignore_index"}

    def __init__(
        self, weights: Tensor | None = None, size_average: bool | None = None, ignore_index: int | None = None
    ) -> None:
        super().__init__(weights, size_average)
        self.ignore_index = ignore_index

    def negative_log_likelihood(self, output: Tensor, classes: Tensor) -> Tensor:
        count = output.shape[0 if output.dim() == 1 else 1]
        ignored = IGNORED_CLASS if self.ignore_index is None else self.ignore_index
        rule: dict[str, Any] = {"weight": self.weights, "ignore_index": ignored - 1}
        with counting_from_one(self.torch_name, classes, count, ignored=ignored):
            if self.weights is None and self.ignore_index is None:
                return functional.nll_loss(output, classes - 1, reduction=self.reduction, **rule)
            loss = functional.nll_loss(output, classes - 1, reduction="sum", **rule)
            if not self.size_average:
                return loss
            # The weights' sum is the loss of log-likelihoods of -1. A batch that weighs nothing has the loss 0.
            weight = functional.nll_loss(-torch.ones_like(output), classes - 1, reduction="sum", **rule)
            return loss / weight.where(weight != 0, 1)


@torch_class("ClassNLLCriterion")
class ClassNLLCriterion(LikelihoodCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        refuse_other_dimensions(self.torch_name, output, "samples × classes, or one sample's classes", 1, 2)
        classes = classes_of(self.torch_name, output, target, output.shape[:-1])
        return self.negative_log_likelihood(output, classes)


@torch_class("CrossEntropyCriterion")
class CrossEntropyCriterion(ClassNLLCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        # Sides of 1, which convolutions leave, do not count.
        if output.dim() > 2 and math.prod(output.shape[2:]) == 1:
            output = output.flatten(1)
        return super().loss(functional.log_softmax(output, -1), target)


@torch_class("SpatialClassNLLCriterion")
class SpatialClassNLLCriterion(LikelihoodCriterion):
    """One class for each pixel."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        refuse_other_dimensions(self.torch_name, output, "samples × classes × height × width", 4)
        samples, _, height, width = output.shape
        classes = classes_of(self.torch_name, output, target, (samples, height, width))
        return self.negative_log_likelihood(output, classes)


@torch_class("SpatialCrossEntropyCriterion")
class SpatialCrossEntropyCriterion(SpatialClassNLLCriterion):
    """cudnn's."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(functional.log_softmax(output, 1), target)


@torch_class("VolumetricCrossEntropyCriterion")
class VolumetricCrossEntropyCriterion(LikelihoodCriterion):
    """cudnn's: one class for each place of a volume."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        refuse_other_dimensions(self.torch_name, output, "samples × classes × time × height × width", 5)
        classes = classes_of(self.torch_name, output, target, (len(output), *output.shape[2:]))
        return self.negative_log_likelihood(functional.log_softmax(output, 1), classes)


@torch_class("MultiMarginCriterion")
class MultiMarginCriterion(WeightingCriterion):
    lua_fields = WeightingCriterion.lua_fields | {"p": "p", "margin": "margin"}

    def __init__(self, p: int | None = None, weights: Tensor | None = None, margin: float | None = None) -> None:
        super().__init__(weights)
        if p not in (None, 1, 2):
            raise BadArgument(f"{self.torch_name} knows p = 1 and p = 2; it got {p!r}")
        self.p = p or 1
        self.margin = 1.0 if margin is None else margin

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        refuse_other_dimensions(self.torch_name, output, "samples × classes, or one sample's classes", 1, 2)
        classes = classes_of(self.torch_name, output, target, output.shape[:-1])
        with counting_from_one(self.torch_name, classes, output.shape[-1]):
            return functional.multi_margin_loss(
                output, classes - 1, self.p, self.margin, self.weights, reduction=self.reduction
            )


@torch_class("MultiLabelMarginCriterion")
class MultiLabelMarginCriterion(OutputCriterion):
    """Several classes for each sample; the first 0 ends its list."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        refuse_other_dimensions(self.torch_name, output, "samples × classes, or one sample's classes", 1, 2)
        classes = in_shape_of(self.torch_name, output, target).long()
        with counting_from_one(self.torch_name, classes, output.shape[-1], lowest=0):
            return functional.multilabel_margin_loss(output, classes - 1, reduction=self.reduction)


def simplex(classes: int) -> Tensor:
    """As many points at the distance 1 from the origin, all equally far from each other; the last coordinate is 0."""
    points = torch.zeros(classes, classes, dtype=torch.float64)
    sides = classes - 1
    for axis in range(sides):
        height = math.sqrt(1 - points[axis].square().sum())
        points[axis, axis] = height
        points[axis + 1 :, axis] = (height**2 - 1 - 1 / sides) / height
    return points.float()


@torch_class("ClassSimplexCriterion")
class ClassSimplexCriterion(MSECriterion):
    """Each class is a corner of a simplex, which its samples' outputs are to come near."""

    simplex: Tensor

    def __init__(self, classes: int | None = None) -> None:
        super().__init__()
        if not isinstance(classes, int) or classes < 2:
            raise BadArgument(f"{self.torch_name} needs the number of classes, two or more; it got {classes!r}")
        refuse_absurd_size(self.torch_name, classes, classes)
        self.register_buffer("simplex", simplex(classes))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        classes = classes_of(self.torch_name, output, target, output.shape[:-1])
        with counting_from_one(self.torch_name, classes, len(self.simplex)):
            corners = functional.embedding(classes - 1, self.simplex)
        return super().loss(output, corners)


# Two classes: targets are 0 and 1, or -1 and 1


@torch_class("BCECriterion")
class BCECriterion(WeightingCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        target = in_shape_of(self.torch_name, output, target)
        losses = -(target * (output + EPSILON).log() + (1 - target) * (1 - output + EPSILON).log())
        if self.weights is not None:
            if len(self.weights) != output.shape[-1]:
                raise ValueError(
                    f"{self.torch_name} has {len(self.weights)} weights, and the output has the shape "
                    f"{image_shape_name(output.shape)}: its last side must be as long"
                )
            losses = losses * self.weights
        return self.reduced(losses, output.numel())


@torch_class("MultiLabelSoftMarginCriterion")
class MultiLabelSoftMarginCriterion(BCECriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(output.sigmoid(), target)


@torch_class("MarginCriterion")
class MarginCriterion(MarginalCriterion, OutputCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        target = in_shape_of(self.torch_name, output, target)
        return self.reduced((self.margin - target * output).relu(), output.numel())


@torch_class("SoftMarginCriterion")
class SoftMarginCriterion(OutputCriterion):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        target = in_shape_of(self.torch_name, output, target)
        return self.reduced(functional.softplus(-target * output), output.numel())


# Two outputs: their distance, or their order


@torch_class("HingeEmbeddingCriterion")
class HingeEmbeddingCriterion(MarginalCriterion, OutputCriterion):
    """The output is a distance."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        target = in_shape_of(self.torch_name, output, target)
        return functional.hinge_embedding_loss(output, target, self.margin, reduction=self.reduction)


@torch_class("L1HingeEmbeddingCriterion")
class L1HingeEmbeddingCriterion(MarginalCriterion, PairCriterion):
    """Torch's takes one pair and its target as a number. A batch of pairs with a target each has the mean of its losses."""

    def loss(self, first: Tensor, second: Tensor, target: Tensor) -> Tensor:
        target = target.flatten()
        differences = (first - second).abs()
        distances = differences.reshape(len(target), -1).sum(1) if len(target) > 1 else differences.sum().reshape(1)
        losses = distances.where(target != -1, (self.margin - distances).relu())
        return self.reduced(losses, len(target))


@torch_class("CosineEmbeddingCriterion")
class CosineEmbeddingCriterion(MarginalCriterion, PairCriterion):
    default_margin = 0.0

    def loss(self, first: Tensor, second: Tensor, target: Tensor) -> Tensor:
        refuse_other_dimensions(self.torch_name, first, "two outputs of samples × features, or one sample's", 1, 2)
        features = first.shape[-1]
        first, second = first.reshape(-1, features), second.reshape(-1, features)
        target = in_shape_of(self.torch_name, first[:, 0], target)
        return functional.cosine_embedding_loss(first, second, target, self.margin, reduction=self.reduction)


@torch_class("MarginRankingCriterion")
class MarginRankingCriterion(MarginalCriterion, PairCriterion):
    """A target of 1 asks for the first output to be the larger one."""

    def loss(self, first: Tensor, second: Tensor, target: Tensor) -> Tensor:
        target = in_shape_of(self.torch_name, first, target)
        return self.reduced((self.margin - target * (first - second)).relu(), first_side(first))


@torch_class("DistanceRatioCriterion")
class DistanceRatioCriterion(AveragingCriterion):
    """The outputs are distances: of a sample to a like one, and to an unlike one. There is no target."""

    def forward(self, outputs: Any, target: Any = None) -> Tensor:
        like, unlike = pair(self.torch_name, outputs)
        return self.reduced(functional.softplus(like - unlike), first_side(like))


# Several criteria


class SeveralCriteria(Criterion):
    """A weighted sum of criteria."""

    def __init__(self) -> None:
        super().__init__()
        self.criteria = nn.ModuleList()
        self.factors: list[float] = []

    @lua_method("add")
    def add(self, criterion: nn.Module, factor: float | None = None) -> None:
        if not isinstance(criterion, Criterion):
            got = describe(criterion) if isinstance(criterion, nn.Module) else as_lua(criterion)
            raise BadArgument(f"{self.torch_name}:add needs a criterion; it got {got}")
        self.criteria.append(criterion)
        self.factors.append(1.0 if factor is None else factor)

    def weighted_sum(self, outputs: Sequence[Any], targets: Sequence[Any]) -> Tensor:
        if not self.factors:
            raise ValueError(f"{self.torch_name} has no criteria: give it some with :add(criterion, weight)")
        losses = [
            factor * criterion(output, target)
            for factor, criterion, output, target in zip(self.factors, self.criteria, outputs, targets, strict=True)
        ]
        return torch.stack(losses).sum()


@torch_class("MultiCriterion")
class MultiCriterion(SeveralCriteria):
    """All get the same output and target."""

    def forward(self, output: Any, target: Any) -> Tensor:
        return self.weighted_sum([output] * len(self.factors), [target] * len(self.factors))


@torch_class("ParallelCriterion")
class ParallelCriterion(SeveralCriteria):
    """The first criterion gets the first output and the first target, and so on."""

    lua_fields = SeveralCriteria.lua_fields | {"repeatTarget": "repeat_target"}

    def __init__(self, repeat_target: bool | None = None) -> None:
        super().__init__()
        self.repeat_target = bool(repeat_target)

    def forward(self, outputs: Any, targets: Any) -> Tensor:
        count = len(self.factors)
        each = [targets] * count if self.repeat_target else self._of_each("targets", targets)
        return self.weighted_sum(self._of_each("outputs", outputs), each)

    def _of_each(self, what: str, values: Any) -> list[Any]:
        """One a criterion; of a tensor its slices, as Lua's index gives them. What is over is left alone."""
        count = len(self.factors)
        found = len(values) if isinstance(values, list | tuple | Tensor) else 0
        if found < count:
            raise ValueError(f"{self.torch_name} has {count} criteria and got {found} {what}")
        return [values[index] for index in range(count)]
