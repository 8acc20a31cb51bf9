"""When a training keeps a snapshot, and which of the older ones it keeps."""

import time
from collections.abc import Callable

from torch.optim import Optimizer

from jobs.models.generic_image import Framework, GenericImageModelSpec, LearningRateSchedule
from jobs.networks.contract import Network
from jobs.training.checkpoints import Position, WithinEpoch, save_snapshot
from jobs.training.outside_watch import OutsideWatch
from jobs.training.resuming import tell_of_snapshot
from jobs.training.snapshot_files import SnapshotFile, name_of_snapshot, newest_step, of_epoch, passing, superfluous
from jobs.worker import WorkerJob

# What a text does with what no snapshot holds, and what helps.
OUTSIDE: dict[Framework, tuple[str, str]] = {
    "pytorch": (
        "changes {} while it trains, outside of its modules, where no snapshot holds it",
        "Keep it in an attribute of a module instead.",
    ),
    "torch": (
        "makes {} while it trains, which no snapshot holds",
        "Make functions and modules when the network is made, and keep what changes as numbers, strings and small tensors.",
    ),
}
IN_ATTRIBUTES = (
    "changes {} while it trains, which is of a kind that no snapshot holds",
    "Keep what changes in attributes that are numbers, strings, tensors, arrays of NumPy, generators of random numbers, or "
    "lists, tuples, sets and dictionaries of these and of nothing else.",
)


class SnapshotKeeper:
    """Writes a training's snapshots, and removes those that its form does not ask to keep."""

    def __init__(
        self,
        job: WorkerJob,
        spec: GenericImageModelSpec,
        network: Network,
        optimizer: Optimizer,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._spec = spec
        self._network = network
        self._outside = OutsideWatch(network)
        self._optimizer = optimizer
        self._seed = seed
        self._clock = clock
        self._interval = float("inf") if spec.snapshot_minutes is None else 60 * spec.snapshot_minutes
        self._due_at = clock() + self._interval

    @property
    def is_due(self) -> bool:
        """Whether the last snapshot is so long ago that one between those of epochs is asked for."""
        return self._clock() >= self._due_at

    def keep_epoch(self, position: Position, within_epoch: WithinEpoch, validation_loss: float | None = None) -> None:
        """Keep a snapshot of the epoch, which can be tested."""
        snapshot = of_epoch(self._job.folder, position.epoch)
        self._save(snapshot, position, within_epoch, validation_loss)
        tell_of_snapshot(self._job, snapshot, position)
        self._remove_superfluous()

    def keep_passing(self, position: Position, within_epoch: WithinEpoch) -> None:
        """Keep one for who goes on after a crash, if there is none of this step."""
        self._due_at = self._clock() + self._interval
        if position.step > newest_step(self._job.folder):
            self._save(passing(self._job.folder, position.epoch, position.step), position, within_epoch)
            self._remove_superfluous()

    def keep_stopped(self, position: Position, within_epoch: WithinEpoch) -> None:
        """Keep what was learnt when the training stops, if any step was made since the last snapshot."""
        if position.step > newest_step(self._job.folder):
            self.keep_epoch(position, within_epoch)

    def _save(
        self,
        snapshot: SnapshotFile,
        position: Position,
        within_epoch: WithinEpoch,
        validation_loss: float | None = None,
    ) -> None:
        schedule = self._spec.model_dump(include=set(LearningRateSchedule.model_fields) - {"kind"})

        def save() -> None:
            # What was told up to here must not be lost where the snapshot is not.
            self._job.events.sync()
            save_snapshot(
                snapshot, self._network, self._optimizer, position, schedule, self._seed, within_epoch, validation_loss
            )

        self._warn_of_what_is_outside()
        self._job.when_the_disk_takes_it(save, f"the {name_of_snapshot(position.epochs_done)}")
        self._due_at = self._clock() + self._interval

    def _warn_of_what_is_outside(self) -> None:
        changed = self._outside.changed()
        told = ((changed.variables, OUTSIDE[self._spec.framework]), (changed.attributes, IN_ATTRIBUTES))
        for names, (what, instead) in told:
            if not names:
                continue
            text = (
                f"The network's text {what.format(', '.join(names))}: when the training is interrupted it goes on with what "
                f"the text begins with. {instead}"
            )
            print(text)
            self._job.events.write("message", level="warning", text=text)

    def _remove_superfluous(self) -> None:
        doomed = superfluous(self._job.folder, self._spec.keep_snapshots, self._spec.keep_last)
        # Told first: nobody is to be offered what is not there any more.
        if epochs := sorted(snapshot.epoch for snapshot in doomed if snapshot.step is None):
            self._job.events.write("snapshots_removed", epochs=epochs)
        for snapshot in doomed:
            snapshot.remove()
