"""What in a network that runs is most likely not meant: a softmax that is taken twice, a target that no output can reach."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from jobs.networks.contract import Network
from jobs.networks.names import layer_name
from jobs.networks.tracing import LayerCall
from jobs.torch7 import criteria
from jobs.torch7.module import Criterion
from jobs.torch7.shapes import Reshape, View

CROSS_ENTROPY = (
    nn.CrossEntropyLoss,
    criteria.CrossEntropyCriterion,
    criteria.SpatialCrossEntropyCriterion,
    criteria.VolumetricCrossEntropyCriterion,
)
LIKELIHOOD = (nn.NLLLoss, criteria.LikelihoodCriterion)
# Layers that give the values that they get, in another shape.
SHAPING = (nn.Flatten, nn.Unflatten, nn.Identity, View, Reshape)
# What functions can give at all.
RANGES: dict[type[nn.Module], tuple[float, float]] = {
    nn.ReLU: (0, math.inf),
    nn.ReLU6: (0, 6),
    nn.Softplus: (0, math.inf),
    nn.Sigmoid: (0, 1),
    nn.Softmax: (0, 1),
    nn.Tanh: (-1, 1),
}
# Targets a little past what a function comes near to are common, and do no harm.
FAR = 0.5
CLOSE = 1e-3


@dataclass(frozen=True)
class Attempt:
    """What the network made of the images that it was tried on."""

    network: Network
    calls: Sequence[LayerCall]
    output: Any
    target: Any
    # Whether the images of the training have values below 0 as these have.
    images_are_centred: bool

    @property
    def last(self) -> nn.Module | None:
        """The last layer that computes, if the output is all its."""
        return next((call.module for call in reversed(self.calls) if not isinstance(call.module, SHAPING)), None)

    @property
    def loss_name(self) -> str:
        return layer_name(self.network.loss) if isinstance(self.network.loss, nn.Module) else "the loss"


def advice_on(attempt: Attempt) -> list[str]:
    """A sentence for each thing that looks wrong, though it can be trained."""
    if not isinstance(attempt.output, Tensor) or not isinstance(attempt.target, Tensor):
        return []
    loss = attempt.network.loss
    if isinstance(loss, CROSS_ENTROPY):
        return _on_one_class(attempt, attempt.output) or _on_cross_entropy(attempt)
    if isinstance(loss, LIKELIHOOD):
        return _on_one_class(attempt, attempt.output) or _on_likelihood(attempt, attempt.output)
    is_difference = isinstance(loss, _Loss | Criterion) and attempt.output.shape == attempt.target.shape
    return _on_range(attempt, attempt.target) if is_difference else []


def _on_one_class(attempt: Attempt, output: Tensor) -> list[str]:
    if output.dim() < 2 or output.shape[1] != 1:
        return []
    return [
        f"The output has one class, and of one class {attempt.loss_name} has nothing to learn. Give the last layer as many "
        "outputs as there are classes."
    ]


def _on_cross_entropy(attempt: Attempt) -> list[str]:
    if not isinstance(attempt.last, nn.Softmax):
        return []
    return [
        f"{attempt.loss_name} takes the softmax itself. With {layer_name(attempt.last)} before it, it is taken twice, and "
        "learning is slow: leave that out."
    ]


def _on_likelihood(attempt: Attempt, output: Tensor) -> list[str]:
    if output.dim() < 2 or bool((output.detach().float().logsumexp(1).abs() < CLOSE).all()):
        return []
    ends = "nn.LogSoftMax()" if attempt.network.framework == "torch" else "nn.LogSoftmax(1)"
    instead = f", in place of {layer_name(attempt.last)}" if isinstance(attempt.last, nn.Softmax) else ""
    return [f"{attempt.loss_name} takes logarithms of probabilities. End the model in {ends}{instead}."]


def _on_range(attempt: Attempt, target: Tensor) -> list[str]:
    lowest, highest = next(
        (limits for kind, limits in RANGES.items() if isinstance(attempt.last, kind)), (-math.inf, math.inf)
    )
    if attempt.last is None or not target.is_floating_point():
        return []
    name, values = layer_name(attempt.last), target.detach()
    if float(values.max()) > highest + FAR:
        return [
            f"{name} gives values up to {highest:g}, and the target has some far above, as images have them from 0 to 255. "
            "Leave it out, or scale the target to its range."
        ]
    if attempt.images_are_centred and float(values.min()) < lowest - FAR:
        return [
            f"{name} gives no values below {lowest:g}, and the target has many: of images whose mean is subtracted half of the "
            "values are below 0. Leave it out."
        ]
    return []
