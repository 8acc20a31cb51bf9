"""Snapshots: everything that a training is at one step, as tensors and plain values, written whole or not at all."""

import io
import random
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from jobs.errors import UserError
from jobs.folder import JobFolder
from jobs.networks.contract import Network
from jobs.training.outside import attributes_of
from jobs.training.snapshot_files import SnapshotFile, of_epoch, open_snapshot, write_snapshot

FORMAT = 2

# Step, loss, learning rate.
Point = tuple[int, float, float]


@dataclass(frozen=True)
class Position:
    """How far a training has come. `epoch` is the epoch that `step` lies in; the last step of an epoch belongs to it."""

    step: int
    steps_per_epoch: int
    total_steps: int

    @property
    def epoch(self) -> int:
        return -(-self.step // self.steps_per_epoch)

    @property
    def epochs_done(self) -> float:
        return self.step / self.steps_per_epoch

    @property
    def is_between_epochs(self) -> bool:
        return self.step % self.steps_per_epoch == 0


@dataclass(frozen=True)
class WithinEpoch:
    """What of an epoch its step does not say."""

    # The state of the generator that the epoch's crops are drawn from; None between two epochs.
    random: Tensor | None = None
    # Steps that belong to a group of the curve which is not full yet, and so were not told.
    untold: list[Point] = field(default_factory=list)
    # Whether what the epoch ends with, the validation, was done.
    is_over: bool = True
    # The sum of the losses of its steps so far, and how many these are.
    losses: tuple[float, int] = (0.0, 0)

    @property
    def training_loss(self) -> float | None:
        total, steps = self.losses
        return total / steps if steps else None


def save_snapshot(
    file: SnapshotFile,
    network: Network,
    optimizer: Optimizer,
    position: Position,
    schedule: dict[str, Any],
    seed: int,
    within_epoch: WithinEpoch = WithinEpoch(),
    validation_loss: float | None = None,
) -> None:
    """Write the snapshot of this moment."""
    content = {
        "format": FORMAT,
        "epoch": position.epoch,
        "position": {**asdict(position), "epochs_done": position.epochs_done},
        "model": network.model.state_dict(),
        "loss": network.loss.state_dict() if isinstance(network.loss, nn.Module) else {},
        "attributes": attributes_of(network),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule,
        "seed": seed,
        "random_state": random_state(),
        "within_epoch": {
            "random": within_epoch.random,
            "untold": [list(point) for point in within_epoch.untold],
            "is_over": within_epoch.is_over,
            "losses": list(within_epoch.losses),
        },
    }
    # Through memory: torch reports a full disk as an error of its own making, and the file's own write does not.
    serialised = io.BytesIO()
    torch.save(content, serialised)
    write_snapshot(
        file, serialised.getvalue(), position.step, validation_loss, within_epoch.training_loss, position.epochs_done
    )


def load_snapshot(folder: JobFolder, epoch: int, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The snapshot of this epoch; UserError when there is none or it cannot be read."""
    file = of_epoch(folder, epoch)
    if not file.path.exists():
        there_are = ", ".join(map(str, folder.snapshot_epochs())) or "none yet"
        raise UserError(f"There is no snapshot of epoch {epoch}. There are: {there_are}.")
    return load_file(file, device)


def load_file(snapshot: SnapshotFile, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a snapshot holds; UserError when it cannot be read."""
    with open_snapshot(snapshot) as file:
        try:
            content: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        except Exception as error:
            # torch, pickle and zipfile each have errors of their own for a damaged file.
            raise UserError(f"The {snapshot.name} cannot be read ({error}). Choose another one.") from error
    return content


def seed_random(seed: int) -> None:
    """Begin the random numbers of torch, on all devices, and those that a network's own code may take from elsewhere."""
    torch.manual_seed(seed)
    random.seed(seed)
    # NumPy takes 32 bits at a time.
    np.random.seed([seed % 2**32, seed >> 32])


def random_state() -> dict[str, Any]:
    """The state of all generators that a seed sets: torch's on the CPU and on the GPUs in use, Python's and NumPy's."""
    # A training on the CPU must not wake the GPUs, which others may use.
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus: list[Tensor] = torch.cuda.get_rng_state_all() if in_use else []
    version, words, gauss = random.getstate()
    numpy: dict[str, Any] = np.random.get_state(legacy=False)
    return {
        "cpu": torch.get_rng_state(),
        "gpus": gpus,
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "words": torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
            "place": int(numpy["state"]["pos"]),
            "has_gauss": int(numpy["has_gauss"]),
            "gauss": float(numpy["gauss"]),
        },
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go on with the random numbers where `random_state` was asked."""
    # Generators take their state from the CPU, wherever the snapshot was loaded to.
    torch.set_rng_state(state["cpu"].cpu())
    if state["gpus"] and torch.cuda.device_count() == len(state["gpus"]):
        torch.cuda.set_rng_state_all([gpu.cpu() for gpu in state["gpus"]])
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    words = {"key": numpy["words"].cpu().numpy().astype(np.uint32), "pos": numpy["place"]}
    np.random.set_state(
        {"bit_generator": "MT19937", "state": words, "has_gauss": numpy["has_gauss"], "gauss": numpy["gauss"]}
    )
