"""(a) The script most people would write: an LMDB dataset that Pillow decodes, a DataLoader, a plain loop."""

import time
from collections.abc import Iterator

import lmdb
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tests.benchmarks.rivals.task import (
    BATCH_SIZE,
    Task,
    answer,
    autoencoder,
    decoded,
    given_task,
    make_optimizer,
    read_mean,
    wait_for,
)


class LmdbDataset(Dataset[Tensor]):
    def __init__(self, path: str, mean: Tensor) -> None:
        self.path = path
        self.mean = mean
        self.environment: lmdb.Environment | None = None
        with lmdb.open(path, readonly=True, lock=False) as environment, environment.begin() as transaction:
            self.keys = list(transaction.cursor().iternext(values=False))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Tensor:
        if self.environment is None:  # each loader worker opens its own
            self.environment = lmdb.open(self.path, readonly=True, lock=False, readahead=False)
        with self.environment.begin() as transaction:
            image = decoded(transaction.get(self.keys[index]))
        return torch.from_numpy(image.copy()).float()[None] - self.mean


def train(task: Task) -> Iterator[float]:
    loader = DataLoader(
        LmdbDataset(task.database, read_mean(task)),
        batch_size=BATCH_SIZE,
        shuffle=True,
        num_workers=task.loader_workers,
        persistent_workers=task.loader_workers > 0,
        pin_memory=task.device != "cpu",
    )
    model = autoencoder().to(task.device)
    optimizer = make_optimizer(model)
    criterion = nn.MSELoss()
    for _ in range(task.epochs):
        began = time.perf_counter()
        model.train()
        running_loss = 0.0
        for batch in loader:
            images = batch.to(task.device, non_blocking=True)
            optimizer.zero_grad()
            loss = criterion(model(images), images)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        wait_for(task.device)
        yield time.perf_counter() - began


if __name__ == "__main__":
    answer(list(train(given_task())))
