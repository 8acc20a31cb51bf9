"""(b) A bare PyTorch loop over images in memory, the mean subtracted beforehand."""

import time
from collections.abc import Iterator

import torch
from torch import nn

from tests.benchmarks.rivals.task import (
    BATCH_SIZE,
    Task,
    answer,
    autoencoder,
    given_task,
    make_optimizer,
    prepared_images,
    wait_for,
)


def train(task: Task) -> Iterator[float]:
    images = prepared_images(task)
    model = autoencoder().to(task.device)
    optimizer = make_optimizer(model)
    criterion = nn.MSELoss()
    for _ in range(task.epochs):
        began = time.perf_counter()
        model.train()
        total = torch.zeros((), device=task.device)
        for indices in torch.randperm(len(images), device=task.device).split(BATCH_SIZE):
            batch = images[indices]
            optimizer.zero_grad()
            loss = criterion(model(batch), batch)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        total.item()
        wait_for(task.device)
        yield time.perf_counter() - began


if __name__ == "__main__":
    answer(list(train(given_task())))
