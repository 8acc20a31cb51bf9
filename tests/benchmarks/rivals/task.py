"""What every rival is asked, and what it answers: the same images, network, batches and solver; seconds of each epoch."""

import io
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from jobs.storage.datum import BlobProto, parse_datum

BATCH_SIZE = 64
LEARNING_RATE, MOMENTUM, DAMPENING, WEIGHT_DECAY = 0.01, 0.9, 0.9, 1e-4
SIDE = 28
VALUES = SIDE * SIDE


@dataclass(frozen=True)
class Task:
    """A database of grey 28×28 pictures, its mean, and for how many epochs to learn it, where."""

    database: str
    mean_file: str
    epochs: int
    device: str = "cpu"
    loader_workers: int = 0

    def as_argument(self) -> str:
        return json.dumps(asdict(self))


def given_task() -> Task:
    return Task(**json.loads(sys.argv[1]))


def answer(seconds: list[float]) -> None:
    """The last line that the process prints."""
    print(json.dumps({"seconds": seconds, "threads": torch.get_num_threads(), "device": device_name()}))


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_initialized() else "CPU"


def wait_for(device: str) -> None:
    """Until the device has done what it was given: only then is an epoch over."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return images * self.factor


def autoencoder() -> nn.Module:
    """The network of `jobs.networks.starter`."""
    return nn.Sequential(
        Scale(1 / 256), nn.Flatten(),
        nn.Linear(VALUES, 300), nn.ReLU(), nn.Linear(300, 50), nn.ReLU(),
        nn.Linear(50, 300), nn.ReLU(), nn.Linear(300, VALUES), nn.Unflatten(1, (1, SIDE, SIDE)),
    )  # fmt: skip


def make_optimizer(model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), LEARNING_RATE, momentum=MOMENTUM, dampening=DAMPENING, weight_decay=WEIGHT_DECAY)


def read_mean(task: Task) -> Tensor:
    blob: Any = BlobProto.FromString(Path(task.mean_file).read_bytes())
    return torch.tensor(blob.data, dtype=torch.float32).reshape(1, SIDE, SIDE)


def decoded(value: bytes) -> NDArray[np.uint8]:
    """The picture of a record, decoded by Pillow."""
    return np.asarray(Image.open(io.BytesIO(parse_datum(value).data)))


def prepared_images(task: Task) -> Tensor:
    """All images in memory as floats less the mean: what a loop that does not wait for data begins with."""
    with lmdb.open(task.database, readonly=True, lock=False) as environment, environment.begin() as transaction:
        images = np.stack([decoded(value) for _, value in transaction.cursor()])
    return (torch.from_numpy(images)[:, None].float() - read_mean(task)).to(task.device)
