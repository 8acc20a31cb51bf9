"""Whether two networks are the same: the same weights from each seed, and the same answers to the same images."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from jobs.building import made_up_batch
from jobs.errors import BadNetwork
from jobs.networks.contract import Network, is_memory_fault, network_fault
from jobs.networks.tracing import tensors_in

SEEDS = (1, 2)
# What holds for one size of batch only does not hold.
BATCHES = (3, 2)

Make = Callable[[], Network]
Answers = dict[str, list[Tensor]]


class Fails(Exception):
    """A network cannot answer."""


def compare(make_lua: Make, make_python: Make, image_shape: Sequence[int], label_shape: Sequence[int]) -> list[str]:
    """What is not the same, in sentences; none where nothing differs, bit for bit."""
    differences: dict[str, None] = {}
    for seed in SEEDS:
        try:
            lua, python = _made(make_lua, seed), _made(make_python, seed)
        except BadNetwork as error:
            return [f"This Python does not run yet: {error}"]
        mine, theirs = _state(lua), _state(python)
        if [tensor.shape for tensor in mine] != [tensor.shape for tensor in theirs]:
            return ["The Python has other weights than the Lua."]
        if not _are_equal(mine, theirs):
            differences["The Python begins with other weights than the Lua: a training takes another course."] = None
            with torch.no_grad():
                for tensor, other in zip(mine, theirs, strict=True):
                    other.copy_(tensor)
    for count in BATCHES:
        differences |= dict.fromkeys(_differences(lua, python, count, image_shape, label_shape))
    return list(differences)


def _made(make: Make, seed: int) -> Network:
    torch.manual_seed(seed)
    return make()


def _state(network: Network) -> list[Tensor]:
    return [*network.model.parameters(), *network.model.buffers()]


def _are_equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(map(_is_equal, some, others))


def _is_equal(one: Tensor, other: Tensor) -> bool:
    """Value for value; what is no number is equal to what is none either."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _differences(
    lua: Network, python: Network, count: int, image_shape: Sequence[int], label_shape: Sequence[int]
) -> list[str]:
    images, labels = made_up_batch(lua, image_shape, label_shape, count=count, seed=count)
    try:
        mine = _answers(lua, images, _of_two_classes(labels))
        labels = _of_two_classes(labels)
    except Fails:
        # There may be one class only.
        try:
            mine = _answers(lua, images, labels)
        except Fails as error:
            return [f"The Lua does not take a batch of {count} images, and was not compared there: {error}"]
    try:
        theirs = _answers(python, images, labels)
    except Fails as error:
        return [f"This Python does not run yet: {error}"]
    return [
        f"{what} of the Python differ from those of the Lua."
        for what in mine
        if not _are_equal(mine[what], theirs[what])
    ]


def _of_two_classes(labels: Tensor) -> Tensor:
    """The labels, and those that are classes one higher for every other image."""
    return labels + torch.arange(len(labels)) % 2 if labels.dim() == 1 else labels


def _answers(network: Network, images: Tensor, labels: Tensor) -> Answers:
    """Outputs, targets, loss and gradients of a step, what it leaves in buffers, and outputs in evaluation."""
    torch.manual_seed(SEEDS[0])
    try:
        network.model.train()
        output = network.model(images.clone())
        target = network.label_hook(images.clone(), labels.clone())
        loss = network.loss(output, target)
        learning = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss, learning, materialize_grads=True)
        buffers = [buffer.clone() for buffer in network.model.buffers()]
        # Once is enough: no more differs there from size to size than in a step.
        evaluated = _evaluated(network, images) if len(images) == BATCHES[-1] else ()
    except (Exception, SystemExit) as error:  # the user's code runs here, and may raise anything
        if is_memory_fault(error):
            raise
        raise Fails(str(error if isinstance(error, BadNetwork) else network_fault(error, network.filename))) from error
    return {
        "Outputs": _detached(output),
        "Targets": _detached(target),
        "Losses": _detached(loss),
        "Gradients": list(gradients),
        "Buffers": buffers,
        "Outputs in evaluation": _detached(evaluated),
    }


def _evaluated(network: Network, images: Tensor) -> Any:
    network.model.eval()
    with torch.no_grad():
        return network.model(images.clone())


def _detached(value: Any) -> list[Tensor]:
    return [tensor.detach() for tensor in tensors_in(value)]
