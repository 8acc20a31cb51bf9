"""How a training goes on that was left: by an abort, a crash of its worker, or one of the machine."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from jobs.errors import UserError
from jobs.networks.contract import Network
from jobs.training.checkpoints import Point, Position, load_file, set_random_state
from jobs.training.outside import set_attributes
from jobs.training.snapshot_files import SnapshotFile, epochs_in_words, newest_good_snapshot, remove_half_snapshots
from jobs.worker import WorkerJob


@dataclass(frozen=True)
class Beginning:
    """Where a training begins: at its first step, or at a snapshot's."""

    snapshot: dict[str, Any] | None = None
    file: SnapshotFile | None = None

    @property
    def seed(self) -> int | None:
        return None if self.snapshot is None else int(self.snapshot["seed"])

    @property
    def step(self) -> int:
        return 0 if self.snapshot is None else int(self.snapshot["position"]["step"])

    @property
    def untold(self) -> list[Point]:
        """Points of the curve that the snapshot holds and no event."""
        points = [] if self.snapshot is None else self.snapshot["within_epoch"]["untold"]
        return [(step, loss, rate) for step, loss, rate in points]

    @property
    def losses(self) -> tuple[float, int]:
        """The sum of the losses of the epoch's steps before, and how many these are."""
        # Older snapshots know of none.
        kept = {} if self.snapshot is None else self.snapshot["within_epoch"]
        total, steps = kept.get("losses", (0.0, 0))
        return float(total), int(steps)

    def epoch(self, position: Position) -> int:
        """The epoch to go on with; one whose steps are all done, where its validation is not."""
        is_over = self.snapshot is None or bool(self.snapshot["within_epoch"]["is_over"])
        return position.step // position.steps_per_epoch + 1 if is_over else position.epoch

    def set_random(self, generator: torch.Generator, epoch: int) -> None:
        """Put the generator of this epoch where the snapshot left it, if it was taken in the middle of this epoch."""
        if self.snapshot is None or self.snapshot["epoch"] != epoch:
            return
        state = self.snapshot["within_epoch"]["random"]
        if state is not None:
            generator.set_state(state.cpu())


def find_beginning(job: WorkerJob, device: torch.device) -> Beginning:
    """The newest good snapshot that an earlier worker left. Those that are damaged are said, and set aside."""
    gone = remove_half_snapshots(job.folder)
    newest = newest_good_snapshot(job.folder)
    for damaged, sentence in newest.damaged.items():
        aside = damaged.set_aside().relative_to(job.folder.path)
        text = f"{sentence} The training goes on without it; it is kept as {aside}."
        print(text)
        job.events.write("message", level="warning", text=text)
    gone += [damaged.epoch for damaged in newest.damaged if damaged.step is None]
    if gone:
        job.events.write("snapshots_removed", epochs=gone)
    if newest.snapshot is None:
        return Beginning()
    return Beginning(load_file(newest.snapshot, device), newest.snapshot)


def restore(beginning: Beginning, network: Network, optimizer: Optimizer, position: Position) -> None:
    """Make everything what it was when the snapshot was taken. Nothing may draw random numbers between this and the
    first step."""
    snapshot = beginning.snapshot
    if snapshot is None or beginning.file is None:
        return
    name, steps = beginning.file.name, snapshot["position"]["steps_per_epoch"]
    if steps != position.steps_per_epoch:
        raise UserError(
            f"The {name} is of a training with {steps} steps an epoch, and this one has "
            f"{position.steps_per_epoch}: the dataset or the network is another. Clone the job to begin anew."
        )
    try:
        # Not kept beside the copies that are made of them: on a GPU they are a good part of its memory.
        network.model.load_state_dict(snapshot.pop("model"))
        optimizer.load_state_dict(snapshot.pop("optimizer"))
        # Older snapshots hold nothing of these.
        if isinstance(network.loss, nn.Module) and "loss" in snapshot:
            network.loss.load_state_dict(snapshot["loss"])
        set_attributes(network, snapshot.get("attributes", {}))
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"The {name} does not fit the network: its text made another one then. "
            "The log has the details. Clone the job to begin anew."
        ) from error
    set_random_state(snapshot["random_state"])


def tell_of_snapshot(job: WorkerJob, snapshot: SnapshotFile, position: Position) -> None:
    """Say that there is a snapshot that can be tested. `epoch` is its number, and it was taken after `epochs_done`."""
    file = str(snapshot.path.relative_to(job.folder.path))
    job.events.write("snapshot", epoch=snapshot.epoch, epochs_done=position.epochs_done, step=position.step, file=file)


def tell(job: WorkerJob, beginning: Beginning, position: Position) -> None:
    """Say after which step everything is told anew: what was told of later steps before is void.

    So are points of the curve after the step `told`: those of a group that was not full are told together with its rest.
    """
    told = min([position.step, *(step - 1 for step, _, _ in beginning.untold)])
    job.events.write("resumed", step=position.step, epoch=position.epochs_done, told=told)
    if beginning.file is None:
        text = "Taken up again from the beginning: there is no snapshot to go on from."
    else:
        if beginning.file.step is None:
            # The worker before may have died before it could tell of it.
            tell_of_snapshot(job, beginning.file, position)
        epochs = f"{epochs_in_words(position.epochs_done)} {'epoch' if position.epochs_done == 1 else 'epochs'}"
        text = f"Taken up again after step {position.step:,}, {epochs}, from the {beginning.file.name}."
    level = "warning" if job.ending_before else "info"
    text = f"{job.ending_before} {text}".strip()
    print(text)
    job.events.write("message", level=level, text=text)
