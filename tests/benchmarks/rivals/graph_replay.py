"""A step captured as a CUDA graph and replayed: the same work without the launches, data lying ready."""

import time
from collections.abc import Iterator

import torch
from torch import nn

from tests.benchmarks.rivals.task import (
    BATCH_SIZE,
    DAMPENING,
    LEARNING_RATE,
    MOMENTUM,
    WEIGHT_DECAY,
    Task,
    answer,
    autoencoder,
    given_task,
    prepared_images,
    wait_for,
)

STEPS_BEFORE_CAPTURE = 3


def train(task: Task) -> Iterator[float]:
    images = prepared_images(task)
    model = autoencoder().to(task.device)
    solver = {"momentum": MOMENTUM, "dampening": DAMPENING, "weight_decay": WEIGHT_DECAY}
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, fused=True, **solver)
    criterion = nn.MSELoss()
    batch = images[:BATCH_SIZE].clone()

    def step() -> None:
        optimizer.zero_grad()
        criterion(model(batch), batch).backward()
        optimizer.step()

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(STEPS_BEFORE_CAPTURE):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad()
    with torch.cuda.graph(graph):
        step()
    for _ in range(task.epochs):
        began = time.perf_counter()
        for _ in range(-(-len(images) // BATCH_SIZE)):
            graph.replay()
        wait_for(task.device)
        yield time.perf_counter() - began


if __name__ == "__main__":
    answer(list(train(given_task())))
