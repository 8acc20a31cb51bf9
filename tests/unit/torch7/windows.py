"""Moving windows in NumPy, as the formulas of convolutions and pooling need them."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor


def windows(
    x: np.ndarray,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    fill: float = 0,
) -> np.ndarray:
    """Of the last dimensions of x, as many as the kernel has: places first, then what lies in the window at each."""
    sides = len(kernel)
    padding = padding or [0] * sides
    dilation = dilation or [1] * sides
    padded = np.pad(x, [(0, 0)] * (x.ndim - sides) + [(pad, pad) for pad in padding], constant_values=fill)
    reach = tuple((side - 1) * step + 1 for side, step in zip(kernel, dilation, strict=True))
    axes = tuple(range(x.ndim - sides, x.ndim))
    every = np.lib.stride_tricks.sliding_window_view(padded, reach, axes)
    places = tuple(slice(None, None, step) for step in stride)
    inside = tuple(slice(None, None, step) for step in dilation)
    return every[(..., *places, *inside)]


def convolved(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Sequence[int],
    padding: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> np.ndarray:
    """Of a batch, by planes: (n, planes, sides…)."""
    sides = weight.ndim - 2
    each = x.shape[1] // groups
    parts = []
    for group, part in enumerate(np.split(weight, groups)):
        seen = windows(x[:, group * each : (group + 1) * each], weight.shape[2:], stride, padding, dilation)
        inside = tuple(range(seen.ndim - sides, seen.ndim))
        summed = np.tensordot(seen, part, ((1, *inside), tuple(range(1, part.ndim))))
        parts.append(np.moveaxis(summed, -1, 1))
    output = np.concatenate(parts, 1)
    return output if bias is None else output + bias.reshape(-1, *[1] * sides)


def spread_out(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Sequence[int],
    padding: Sequence[int],
    adjustment: Sequence[int],
) -> np.ndarray:
    """A full convolution: each value lays the window, times itself, over its place."""
    kernel = weight.shape[2:]
    sizes = zip(x.shape[2:], stride, kernel, adjustment, strict=True)
    full = np.zeros((len(x), weight.shape[1], *[(n - 1) * step + k + more for n, step, k, more in sizes]))
    for place in np.ndindex(*x.shape[2:]):
        corner = [at * step for at, step in zip(place, stride, strict=True)]
        over = tuple(slice(at, at + k) for at, k in zip(corner, kernel, strict=True))
        full[(slice(None), slice(None), *over)] += np.tensordot(x[(..., *place)], weight, 1)
    inner = tuple(slice(pad, side - pad) for pad, side in zip(padding, full.shape[2:], strict=True))
    output = full[(slice(None), slice(None), *inner)]
    return output if bias is None else output + bias.reshape(-1, *[1] * len(kernel))


def numbers(parameter: Tensor | None) -> np.ndarray | None:
    return None if parameter is None else parameter.detach().numpy()
