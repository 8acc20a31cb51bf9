"""(d) PyTorch Lightning over images in memory, without its progress bar, logger and checkpoints."""

import logging
import time
import warnings

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from jobs.vision import import_torchvision
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

import_torchvision()
import pytorch_lightning as pl  # noqa: E402  imports torchvision, which not every build of torch lets in by itself


class Autoencoder(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = autoencoder()
        self.criterion = nn.MSELoss()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        (images,) = batch
        loss: Tensor = self.criterion(self.model(images), images)
        return loss

    def configure_optimizers(self) -> Optimizer:
        return make_optimizer(self.model)


class Stopwatch(pl.Callback):
    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        wait_for(self.device)
        self.seconds.append(time.perf_counter() - self.began)


def train(task: Task) -> list[float]:
    dataset = TensorDataset(prepared_images(task))
    # Whole batches by one index: ten times as fast as the loader's default, which collates single images.
    sampler = BatchSampler(RandomSampler(dataset), BATCH_SIZE, drop_last=False)
    stopwatch = Stopwatch(task.device)
    trainer = pl.Trainer(
        max_epochs=task.epochs,
        accelerator="cpu" if task.device == "cpu" else "gpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[stopwatch],
    )
    trainer.fit(Autoencoder(), DataLoader(dataset, sampler=sampler, batch_size=None))
    return stopwatch.seconds


if __name__ == "__main__":
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # it advises loader workers, which images in memory do not need
    torch.set_float32_matmul_precision("highest")
    answer(train(given_task()))
