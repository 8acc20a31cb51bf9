"""What goes on in every layer of a network: shape, mean, deviation, histogram and picture of values and weights."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from jobs.networks.names import layer_name
from jobs.networks.tracing import LayerCall
from jobs.pictures import Colormap, Picture, draw

Floats = NDArray[np.floating[Any]]

BINS = 20
LINEAR_NOT_DRAWN = "Weights of linear layers are not drawn."


@dataclass(frozen=True)
class Statistics:
    """Of the finite values of an array; None where it has none."""

    shape: list[int]
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    histogram: dict[str, list[float] | list[int]] | None


@dataclass(frozen=True)
class LayerRow:
    """One row of DIGITS's table of layers: a layer's activations, or one of its weights.

    `index` is the layer's place in the order of calls; `parameters` is given once a layer, on its first weights.
    """

    index: int
    name: str
    kind: Literal["activations", "weights", "bias"]
    shape: list[int]
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    histogram: dict[str, list[float] | list[int]] | None
    picture: Picture | None
    not_drawn: str | None
    parameters: int | None


def statistics(array: Floats) -> Statistics:
    shape = list(array.shape)
    finite = array[np.isfinite(array)] if not np.isfinite(array).all() else array.reshape(-1)
    if not finite.size:
        return Statistics(shape, None, None, None, None, None)
    # float32 sums of many values lose digits; a float32 maximum squared may be infinite.
    values = finite.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    return Statistics(shape, float(values.mean()), float(values.std()), low, high, _histogram(values, low, high))


def _histogram(values: Floats, low: float, high: float) -> dict[str, list[float] | list[int]] | None:
    if not math.isfinite(high - low):
        return None
    if high <= low:
        # All values are one value, which gets the middle.
        low, high = low - 0.5, high + 0.5
    try:
        counts, edges = np.histogram(values, BINS, (low, high))
    except ValueError:
        # Floats so close together, or so large, that no twenty bins fit between them.
        return None
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def activation_rows(call: LayerCall, colormap: Colormap, image: int = 0) -> list[LayerRow]:
    """A row for each tensor that the layer gave for one image of the batch."""
    name = layer_name(call.module)
    rows = []
    for number, output in enumerate(call.outputs, 1):
        array = array_of(output)
        array = array[image] if array.ndim and array.shape[0] > image else array
        title = name if len(call.outputs) == 1 else f"{name}.{number}"
        rows.append(_row(call.index, title, "activations", array, colormap))
    return rows


def weight_rows(index: int, module: nn.Module, colormap: Colormap) -> list[LayerRow]:
    """A row for each of the layer's weights and biases."""
    name = layer_name(module)
    total = sum(parameter.numel() for parameter in module.parameters())
    rows: list[LayerRow] = []
    for path, parameter in module.named_parameters():
        kind: Literal["weights", "bias"] = "bias" if path.endswith("bias") else "weights"
        title = name if path in ("weight", "bias") else f"{name} {path}"
        is_drawn = not (isinstance(module, nn.Linear) and kind == "weights")
        count = total if not rows else None
        rows.append(_row(index, title, kind, array_of(parameter), colormap, is_drawn, count))
    return rows


def _row(
    index: int,
    name: str,
    kind: Literal["activations", "weights", "bias"],
    array: Floats,
    colormap: Colormap,
    is_drawn: bool = True,
    parameters: int | None = None,
) -> LayerRow:
    found = statistics(array)
    picture = draw(array, colormap, _limits(found)) if is_drawn and array.size else None
    not_drawn = None if picture else LINEAR_NOT_DRAWN if array.size else "There are no values to draw."
    return LayerRow(index, name, kind, **vars(found), picture=picture, not_drawn=not_drawn, parameters=parameters)


def _limits(found: Statistics) -> tuple[float, float] | None:
    return None if found.minimum is None or found.maximum is None else (found.minimum, found.maximum)


def array_of(tensor: Tensor) -> Floats:
    """A tensor as floats that numpy can hold."""
    plain = tensor.detach()
    if plain.is_complex():
        plain = plain.abs()
    array: Floats = plain.float().cpu().numpy()
    return array
