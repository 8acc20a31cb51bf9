"""What goes on in every layer of a network: shape, mean, deviation, histogram and picture of values and weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from jobs.networks.names import layer_name
from jobs.networks.tracing import LayerCall
from jobs.pictures import Floats, Pen, Picture, finite_or_none

Kind = Literal["activations", "weights", "bias"]
Histogram = dict[str, list[float] | list[int]]

BINS = 20
# Values worked on at a time: float64 copies of them stay in the processor's cache.
BLOCK = 65_536
LINEAR_NOT_DRAWN = "Weights of linear layers are not drawn."
TOO_MANY_LAYERS = "Not drawn while the network trains: it has too many layers for that. Test One draws it."


@dataclass(frozen=True)
class Statistics:
    """Of the finite values of an array; None where it has none. `not_finite` counts the others."""

    shape: list[int]
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    histogram: Histogram | None
    not_finite: int = 0


@dataclass(frozen=True)
class LayerRow:
    """One row of DIGITS's table of layers: a layer's activations, or one of its weights.

    `index` is the layer's place in the order of calls; `parameters` is given once a layer, on its first weights. A unit
    is one value of a flat layer, one channel of a convolution; dead ones do the same whatever the image is.
    """

    index: int
    name: str
    kind: Kind
    shape: list[int]
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    histogram: Histogram | None
    not_finite: int
    picture: Picture | None
    not_drawn: str | None
    parameters: int | None
    gradient_norm: float | None
    units: int | None
    dead_units: int | None


@dataclass(frozen=True)
class Weights:
    """One of a layer's parameters and the norm of its gradient, as they were at one step."""

    path: str
    values: Tensor
    gradient_norm: Tensor | None = None


def statistics(array: Floats) -> Statistics:
    shape = list(array.shape)
    values = array.reshape(-1)
    is_finite = np.isfinite(values)
    if not is_finite.all():
        values = values[is_finite]
    not_finite = array.size - values.size
    if not values.size:
        return Statistics(shape, None, None, None, None, None, not_finite)
    low, high = float(values.min()), float(values.max())
    # float32 sums of many values lose digits.
    mean = float(values.mean(dtype=np.float64))
    squares, counts = 0.0, np.zeros(BINS, np.int64)
    bins = _Bins(low, high)
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK].astype(np.float64)
        counts += bins.count(block)
        block -= mean
        # Not a dot product: for that numpy wakes a thread on every core.
        squares += float(np.square(block, out=block).sum())
    std = math.sqrt(squares / values.size)
    return Statistics(
        shape, finite_or_none(mean), finite_or_none(std), low, high, bins.as_histogram(counts), not_finite
    )


class _Bins:
    """Equal bins from the lowest to the highest value. No bins fit between floats that are very close or very far."""

    def __init__(self, low: float, high: float) -> None:
        if high <= low:
            # All values are one value, which gets the middle.
            low, high = low - 0.5, high + 0.5
        self._low = low
        with np.errstate(all="ignore"):
            self._edges = np.linspace(low, high, BINS + 1)
            self._per_value = float(BINS / np.float64(high - low))
        self._fit = bool(np.isfinite(self._per_value) and (np.diff(self._edges) > 0).all())

    def count(self, block: Floats) -> NDArray[np.int64]:
        if not self._fit:
            return np.zeros(BINS, np.int64)
        places = ((block - self._low) * self._per_value).astype(np.int64)
        return np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def as_histogram(self, counts: NDArray[np.int64]) -> Histogram | None:
        return {"edges": self._edges.tolist(), "counts": counts.tolist()} if self._fit else None


def layer_rows(
    calls: Sequence[LayerCall],
    pen: Pen,
    weight_rows_of: Callable[[LayerCall, int | None], list[LayerRow]],
    dead: Mapping[int, int],
) -> list[LayerRow]:
    """The table: of every call its activations, and at a layer's first call its weights.

    `weight_rows_of` gets the call and its number of units; `dead` tells of some calls how many of theirs are dead.
    """
    rows: list[LayerRow] = []
    shown = set()
    for call in calls:
        units = unit_count(call, calls)
        rows += activation_rows(call, pen, units, dead.get(call.index))
        if call.module not in shown:
            shown.add(call.module)
            rows += weight_rows_of(call, units)
    return rows


def activation_rows(
    call: LayerCall, pen: Pen, units: int | None = None, dead: int | None = None, image: int = 0
) -> list[LayerRow]:
    """A row for each tensor that the layer gave for one image of the batch."""
    name = layer_name(call.module)
    rows = []
    for number, output in enumerate(call.outputs, 1):
        array = array_of(output)
        array = array[image] if array.ndim and array.shape[0] > image else array
        title = name if len(call.outputs) == 1 else f"{name}.{number}"
        rows.append(_row(call.index, title, "activations", array, pen, units=units, dead_units=dead))
    return rows


def weights_of(module: nn.Module) -> list[Weights]:
    """The layer's parameters themselves, not copies."""
    return [Weights(path, parameter) for path, parameter in module.named_parameters()]


def weight_rows(
    call: LayerCall, weights: Sequence[Weights], pen: Pen, units: int | None = None, dead: int | None = None
) -> list[LayerRow]:
    """A row for each of the layer's weights and biases."""
    name = layer_name(call.module)
    total = sum(part.values.numel() for part in weights)
    rows: list[LayerRow] = []
    for part in weights:
        kind: Kind = "bias" if part.path.endswith("bias") else "weights"
        title = name if part.path in ("weight", "bias") else f"{name} {part.path}"
        is_drawn = not (isinstance(call.module, nn.Linear) and kind == "weights")
        of_layer = {"parameters": total, "units": units, "dead_units": dead} if not rows else {}
        norm = None if part.gradient_norm is None else finite_or_none(float(part.gradient_norm))
        array = array_of(part.values)
        rows.append(_row(call.index, title, kind, array, pen, is_drawn, gradient_norm=norm, **of_layer))
    return rows


def _row(
    index: int,
    name: str,
    kind: Kind,
    array: Floats,
    pen: Pen,
    is_drawn: bool = True,
    parameters: int | None = None,
    gradient_norm: float | None = None,
    units: int | None = None,
    dead_units: int | None = None,
) -> LayerRow:
    found = statistics(array)
    picture = pen.draw(array, _limits(found)) if is_drawn and array.size else None
    why_not = "There are no values to draw." if not array.size else TOO_MANY_LAYERS if is_drawn else LINEAR_NOT_DRAWN
    return LayerRow(
        index,
        name,
        kind,
        **vars(found),
        picture=picture,
        not_drawn=None if picture else why_not,
        parameters=parameters,
        gradient_norm=gradient_norm,
        units=units,
        dead_units=dead_units,
    )


def _limits(found: Statistics) -> tuple[float, float] | None:
    return None if found.minimum is None or found.maximum is None else (found.minimum, found.maximum)


def unit_count(call: LayerCall, calls: Sequence[LayerCall]) -> int | None:
    axis = unit_axis(call, calls)
    return None if axis is None else call.outputs[0].shape[axis]


def unit_axis(call: LayerCall, calls: Sequence[LayerCall]) -> int | None:
    """The axis of the layer's output, the batch's is 0, along which its units lie; None when that cannot be known."""
    if not call.outputs:
        return None
    dimensions = call.outputs[0].dim()
    if isinstance(call.module, nn.Linear | nn.LayerNorm):
        return dimensions - 1
    if isinstance(call.module, _ConvNd | _NormBase) or dimensions == 2:
        return 1
    feeder = None if has_weights(call) else feeder_of_same_shape(call, calls)
    if feeder is not None:
        return unit_axis(feeder, calls)
    return 1 if dimensions > 3 else None


def has_weights(call: LayerCall) -> bool:
    return any(True for _ in call.module.parameters())


def feeder_of_same_shape(call: LayerCall, calls: Sequence[LayerCall]) -> LayerCall | None:
    """The one layer that feeds this one, if this one keeps its shape."""
    if call.is_guess or len(call.inputs) != 1 or call.inputs[0] < 0:
        return None
    feeder = calls[call.inputs[0]]
    shapes = [[tensor.shape for tensor in each.outputs] for each in (call, feeder)]
    return feeder if shapes[0] == shapes[1] else None


def array_of(tensor: Tensor) -> Floats:
    """A tensor as floats that numpy can hold."""
    plain = tensor.detach()
    if plain.is_complex():
        plain = plain.abs()
    array: Floats = plain.float().cpu().numpy()
    return array
