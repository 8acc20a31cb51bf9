"""A module of Torch7 held against an independent NumPy formula, and its gradients against finite differences."""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from jobs.networks.tracing import tensors_in

few = settings(max_examples=12)
seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


def distinct(seed: int, *shapes: Sequence[int]) -> list[Tensor]:
    """Tensors of values that are all different, and none near a tenth: no maximum is a tie, no function has its bend there."""
    counts = [prod(shape) for shape in shapes]
    values = (np.random.default_rng(seed).permutation(sum(counts)) - sum(counts) // 2) / 10 + 0.05
    parts = np.split(values, np.cumsum(counts)[:-1])
    return [torch.from_numpy(part.reshape(shape)).requires_grad_() for part, shape in zip(parts, shapes, strict=True)]


def check(module: nn.Module, input: Any, formula: Callable[..., Any]) -> None:
    """The output is what the formula makes of the input's arrays, and so are the gradients of input and weights."""
    module.double()
    assert_same(module(input), formula(as_arrays(input)))
    tensors = [*tensors_in(input), *module.parameters()]
    count = len(tensors) - len(list(module.parameters()))

    def outputs(*given: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensors_in(module(_rebuilt(input, iter(given[:count])))))

    assert torch.autograd.gradcheck(outputs, tensors)


def as_arrays(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, Tensor) else [as_arrays(part) for part in value]


def assert_same(output: Any, expected: Any) -> None:
    if isinstance(output, Tensor):
        assert tuple(output.shape) == np.shape(expected)
        np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-9, atol=1e-12)
        return
    assert isinstance(output, list)
    assert len(output) == len(expected)
    for part, expected_part in zip(output, expected, strict=True):
        assert_same(part, expected_part)


def _rebuilt(value: Any, tensors: Iterator[Tensor]) -> Any:
    return next(tensors) if isinstance(value, Tensor) else [_rebuilt(part, tensors) for part in value]
