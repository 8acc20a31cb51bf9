"""Units that do the same whatever the image is: what a network's activations give for a fixed batch of training images."""

from collections import defaultdict
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from jobs.layers import feeder_of_same_shape, has_weights, unit_axis
from jobs.networks.tracing import LayerCall, inner_calls, tensors_in
from jobs.training.data import ImageData, Preparation

MOST_PROBES = 64
MOST_BYTES = 64 << 20
LEAST_AT_ONCE = 16
# Values that differ by less than this share of their size are the same: a sum of floats is no surer.
SAME = 1e-6
# These give shares or a mix of their inputs: such a unit is never off.
NOT_FIRING = ("Softmax", "Softmax2d", "LogSoftmax", "Softmin", "MultiheadAttention")
FIRING = tuple(getattr(activation, name) for name in activation.__all__ if name not in NOT_FIRING)
# A function is an activation if a module has its name: `leaky_relu` is that of LeakyReLU.
FUNCTIONS = {kind.__name__.lower() for kind in FIRING}

Range = tuple[Tensor, Tensor]


@dataclass
class UnitRanges:
    """The lowest and the highest value of each unit over all probes, by the index of the activation; and the output's.

    Where the activation is a function and no layer, `functions` has them by the index of the layer that it is called on.
    """

    activations: dict[int, Range] = field(default_factory=dict)
    functions: dict[int, Range] = field(default_factory=dict)
    output: Range | None = None


@dataclass(frozen=True)
class DeadUnits:
    """Of one activation: how many of its units give the same for all probes, and how many of those give zero.

    `fed_by` are the calls of the layers with weights whose units these are. `call` is one of them, or what comes after
    them, where the activation is a function.
    """

    call: int
    units: int
    dead: int
    silent: int
    fed_by: tuple[int, ...]


class Probes:
    """Images from all over the training set, the same ones always."""

    def __init__(self, data: ImageData, prepare: Preparation, at_once: int) -> None:
        fit = max(LEAST_AT_ONCE, MOST_BYTES // data.images[0].nbytes)
        count = min(MOST_PROBES, len(data), fit)
        chosen = torch.linspace(0, len(data) - 1, count).long()
        self._images = torch.cat([images for images, _ in data.batches(chosen, count)])
        self._prepare = prepare
        # No more than a training step has to hold, so that there is memory for it.
        self._at_once = max(at_once, LEAST_AT_ONCE)
        # Where all images are one image, nothing can differ.
        self._are_of_use = bool((self._images != self._images[:1]).any())

    def measure(self, model: nn.Module, calls: Sequence[LayerCall]) -> UnitRanges:
        """Run the probes through the model, in the mode in which it is. `calls` are those of one image's pass."""
        ranges = UnitRanges()
        if not self._are_of_use:
            return ranges
        for images in torch.split(self._images, self._at_once):
            with torch.no_grad(), _UnitWatch(calls, ranges).at_work():
                output = next(tensors_in(model(self._prepare(images))))
            ranges.output = _joined(ranges.output, _range_of_units(output.reshape(len(output), -1), 1))
        return ranges


class _UnitWatch:
    """Notes the range of each unit of the activations in the forward pass that its block runs."""

    def __init__(self, calls: Sequence[LayerCall], ranges: UnitRanges) -> None:
        self._calls = calls
        self._ranges = ranges
        self._to_come: dict[nn.Module, list[LayerCall]] = defaultdict(list)
        for call in calls:
            self._to_come[call.module].insert(0, call)
        self._firing = {call.index for call in activations(calls)}
        self._may_feed_function = {call.index for call in _layers_before_output(calls)} - self._firing
        self._made_by: MutableMapping[Tensor, LayerCall] = WeakTensorKeyDictionary()
        self._inside: list[nn.Module] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        handles = [module.register_forward_pre_hook(self._begin) for module in self._to_come]
        handles += [module.register_forward_hook(self._end) for module in self._to_come]
        try:
            with _ActivationFunctions(self._hear):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, module: nn.Module, args: object) -> None:
        self._inside.append(module)

    def _end(self, module: nn.Module, args: object, output: object) -> None:
        self._inside.pop()
        # A pass may take another way for other images.
        call = self._to_come[module].pop() if self._to_come[module] else None
        if call is not None and isinstance(output, Tensor):
            self._made_by[output] = call
            if call.index in self._firing:
                self._note(self._ranges.activations, call, output)

    def _hear(self, input: Tensor, output: Tensor) -> None:
        # An activation that is a module calls such a function, too.
        call = None if self._inside else self._made_by.get(input)
        if call is not None and call.index in self._may_feed_function and output.shape == input.shape:
            self._note(self._ranges.functions, call, output)

    def _note(self, noted: dict[int, Range], call: LayerCall, output: Tensor) -> None:
        axis = unit_axis(call, self._calls)
        if axis is not None:
            noted[call.index] = _joined(noted.get(call.index), _range_of_units(output, axis))


class _ActivationFunctions(TorchFunctionMode):
    """Says what each activation that is called as a function gets and gives, as in `F.relu(self.linear(x))`."""

    def __init__(self, hear: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self._hear = hear

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        # In place, as `relu_` is, the tensor stays the one that the layer made.
        if getattr(func, "__name__", "").replace("_", "") in FUNCTIONS and args and isinstance(output, Tensor):
            self._hear(args[0], output)
        return output


def activations(calls: Sequence[LayerCall]) -> list[LayerCall]:
    """The calls whose units fire or do not: activations behind a layer with weights, and not those of the output.

    Pixels that are the same in all images are no fault of the network, neither at its input nor at its output.
    """
    return [call for call in _layers_before_output(calls)[1:] if isinstance(call.module, FIRING)]


def _layers_before_output(calls: Sequence[LayerCall]) -> list[LayerCall]:
    """From the first layer with weights on."""
    first = next((call.index for call in calls if has_weights(call)), len(calls))
    return [call for call in inner_calls(calls) if call.index >= first]


def _range_of_units(output: Tensor, axis: int) -> Range:
    others = [dimension for dimension in range(output.dim()) if dimension != axis]
    return output.detach().amin(others), output.detach().amax(others)


def _joined(before: Range | None, found: Range) -> Range:
    if before is None:
        return found
    return torch.minimum(before[0], found[0]), torch.maximum(before[1], found[1])


def dead_units(ranges: UnitRanges, calls: Sequence[LayerCall]) -> list[DeadUnits]:
    """How many units of each activation are dead, in the order of the calls."""
    of_layers = [
        _dead(index, units, feeder_of_same_shape(calls[index], calls), calls)
        for index, units in ranges.activations.items()
    ]
    of_functions = [_dead(index, units, calls[index], calls) for index, units in ranges.functions.items()]
    return sorted(of_layers + of_functions, key=lambda found: found.call)


def _dead(index: int, units: Range, before: LayerCall | None, calls: Sequence[LayerCall]) -> DeadUnits:
    """`before` is the layer that the activation is called on."""
    low, high = units
    dead, silent = _constant(low, high), (low == 0) & (high == 0)
    return DeadUnits(index, len(low), int(dead.sum()), int(silent.sum()), tuple(_layers_of_units(before, calls)))


def is_constant(found: Range | None) -> bool:
    """Whether the output is the same for all probes, for the size that its values have."""
    if found is None:
        return False
    low, high = (bound.float() for bound in found)
    return bool((high - low).max() <= SAME * torch.maximum(low.abs(), high.abs()).max())


def _constant(low: Tensor, high: Tensor) -> Tensor:
    return (high.float() - low.float()) <= SAME * torch.maximum(low.abs(), high.abs()).float()


def _layers_of_units(before: LayerCall | None, calls: Sequence[LayerCall]) -> Iterator[int]:
    """The layers with weights that make an activation's units: the one before it, and through a norm what feeds that."""
    while before is not None:
        if has_weights(before):
            yield before.index
        passes_on = isinstance(before.module, _NormBase) or not has_weights(before)
        before = feeder_of_same_shape(before, calls) if passes_on else None
