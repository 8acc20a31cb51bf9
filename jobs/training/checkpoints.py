"""Snapshots: everything that a training is at one step, as tensors and plain values, written whole or not at all."""

import io
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from jobs.errors import UserError
from jobs.folder import JobFolder, write_whole

FORMAT = 1


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
    def percent(self) -> float:
        return 100 * self.step / self.total_steps


def save_snapshot(
    folder: JobFolder, model: nn.Module, optimizer: Optimizer, position: Position, schedule: dict[str, Any], seed: int
) -> str:
    """Write the snapshot of the epoch that `position` is in, and return its path relative to the job folder."""
    folder.snapshots.mkdir(exist_ok=True)
    path = folder.snapshot(position.epoch)
    content = {
        "format": FORMAT,
        "epoch": position.epoch,
        "position": {**asdict(position), "epochs_done": position.epochs_done},
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule,
        "seed": seed,
        "random_state": random_state(),
    }
    # Through memory: torch reports a full disk as an error of its own making, and the file's own write does not.
    serialised = io.BytesIO()
    torch.save(content, serialised)
    write_whole(path, serialised.getvalue())
    return str(path.relative_to(folder.path))


def load_snapshot(folder: JobFolder, epoch: int, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The snapshot of this epoch; UserError when there is none or it cannot be read."""
    path = folder.snapshot(epoch)
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        there_are = ", ".join(map(str, folder.snapshot_epochs())) or "none yet"
        raise UserError(f"There is no snapshot of epoch {epoch}. There are: {there_are}.") from None
    except Exception as error:
        # torch, pickle and zipfile each have errors of their own for a damaged file.
        raise UserError(f"The snapshot of epoch {epoch} cannot be read ({error}). Choose another one.") from error
    return content


def random_state() -> dict[str, Any]:
    """The state of torch's generators, on the CPU and on the GPUs in use."""
    # A training on the CPU must not wake the GPUs, which others may use.
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus: list[Tensor] = torch.cuda.get_rng_state_all() if in_use else []
    return {"cpu": torch.get_rng_state(), "gpus": gpus}
