"""(c) The matrix products of an epoch and nothing else: what no training of this network can do without."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import lmdb
import torch

from tests.benchmarks.rivals.task import BATCH_SIZE, VALUES, Task, answer, given_task, wait_for

WIDTHS = (VALUES, 300, 50, 300, VALUES)


def products_of_step(count: int, device: str) -> Callable[[], None]:
    """Forward, gradients of the weights, and gradients of the inputs of all layers but the first."""
    layers = []
    for place, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        random = [torch.rand(shape, device=device) for shape in ((count, inputs), (outputs, inputs), (count, outputs))]
        results = [torch.empty_like(tensor) for tensor in (random[2], random[1], random[0])]
        layers.append((place, *random, *results))

    def step() -> None:
        for _, x, weight, _, y, _, _ in layers:
            torch.mm(x, weight.t(), out=y)
        for place, x, weight, y_gradient, _, weight_gradient, x_gradient in reversed(layers):
            torch.mm(y_gradient.t(), x, out=weight_gradient)
            if place > 0:
                torch.mm(y_gradient, weight, out=x_gradient)

    return step


def multiply(task: Task) -> Iterator[float]:
    with lmdb.open(task.database, readonly=True, lock=False) as environment:
        whole, rest = divmod(environment.stat()["entries"], BATCH_SIZE)
    step, last_step = products_of_step(BATCH_SIZE, task.device), products_of_step(rest, task.device)
    for _ in range(task.epochs):
        began = time.perf_counter()
        for _ in range(whole):
            step()
        if rest:
            last_step()
        wait_for(task.device)
        yield time.perf_counter() - began


if __name__ == "__main__":
    answer(list(multiply(given_task())))
