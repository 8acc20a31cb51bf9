"""Snapshots on disk: a file of tensors and, written after it, a manifest by which a damaged one is known. Free of torch."""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path

from jobs.errors import UserError
from jobs.folder import JobFolder, publish, sync_folder, write_json, write_whole
from jobs.models.generic_image import KeepSnapshots
from jobs.plain_files import open_plain

# So many are kept always: when the newest is damaged, the training goes on from the one before.
FEWEST = 2
# What pasted code has put in a manifest's place must not fill the server's memory.
LARGEST_MANIFEST_BYTES = 10_000
# What the list of jobs can hold.
LARGEST_STEP = 2**63 - 1


@dataclass(frozen=True)
class Manifest:
    """What a snapshot's file has to be, and how good its network was; a loss that is unknown or no finite number is None.

    `epoch` is that in which it was taken, or at whose end, and `epochs_done` how many were done: 10 and 9.5 in the midst
    of the tenth. Older snapshots do not say the latter.
    """

    epoch: int
    step: int
    size: int
    sha256: str
    validation_loss: float | None = None
    training_loss: float | None = None
    epochs_done: float | None = None

    @property
    def taken_after(self) -> float:
        """How many epochs were done."""
        return self.epoch if self.epochs_done is None else self.epochs_done

    def matches(self, file: BufferedReader) -> bool:
        """Reads the file to its end."""
        return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


@dataclass(frozen=True)
class SnapshotFile:
    """A snapshot's file as its name tells: of an epoch or, passing, of a step in it."""

    path: Path
    epoch: int
    step: int | None = None

    @property
    def name(self) -> str:
        """What a person calls it. Reads the manifest of one that may have been taken in the midst of its epoch."""
        if self.step is not None:
            return f"snapshot of step {self.step:,}"
        manifest = self.manifest()
        return name_of_snapshot(manifest.taken_after if manifest else self.epoch)

    @property
    def manifest_path(self) -> Path:
        """Written last, so that its presence means that the snapshot is whole."""
        return self.path.with_suffix(".json")

    def manifest(self) -> Manifest | None:
        """None for one that is not there or that is damaged."""
        try:
            with open_plain(self.manifest_path) as file:
                values = json.loads(file.read(LARGEST_MANIFEST_BYTES))
            manifest = Manifest(
                int(values["epoch"]),
                int(values["step"]),
                int(values["size"]),
                str(values["sha256"]),
                _finite(values.get("validation_loss")),
                _finite(values.get("training_loss")),
                _finite(values.get("epochs_done")),
            )
        except (OSError, ValueError, OverflowError, RecursionError, KeyError, TypeError, AttributeError):
            return None
        return manifest if manifest.epoch == self.epoch and 0 <= manifest.step <= LARGEST_STEP else None

    def fault_on_disk(self) -> str | None:
        """The same, of what lies on the disk now, whatever that is."""
        try:
            with open_plain(self.path) as file:
                return self.fault(file)
        except OSError as error:
            return f"it cannot be read ({error.strerror})"

    def fault(self, file: BufferedReader) -> str | None:
        """What is wrong with its file, for a person; None when nothing is."""
        if not self.manifest_path.exists():
            return "its manifest is missing: it was not finished"
        manifest = self.manifest()
        if manifest is None:
            return "its manifest cannot be read"
        size = self.path.stat().st_size
        if size != manifest.size:
            return f"it has {size:,} bytes, and {manifest.size:,} were written"
        return None if manifest.matches(file) else "its content is not what was written"

    def set_aside(self) -> Path:
        """Take a damaged one out of the way of one that is to come, and keep it for who wants to look."""
        self.manifest_path.unlink(missing_ok=True)
        return self.path.rename(self.path.with_name(f"{self.path.name}.damaged"))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.manifest_path.unlink(missing_ok=True)


@dataclass(frozen=True)
class NewestGood:
    """The newest snapshot that is as it was written, None where there is none; and what is wrong with newer ones."""

    snapshot: SnapshotFile | None
    damaged: dict[SnapshotFile, str]


def epochs_in_words(epochs: float) -> str:
    """So many digits that nobody takes it for a whole number where it is none."""
    if epochs == int(epochs):
        return str(int(epochs))
    texts = (f"{epochs:.{digits}f}" for digits in range(1, 7))
    return next((text for text in texts if float(text) % 1), f"{epochs:.6f}")


def name_of_snapshot(epochs_done: float) -> str:
    """What a person calls the snapshot that was taken after so many epochs."""
    words = epochs_in_words(epochs_done)
    return f"snapshot of epoch {words}" if epochs_done == int(epochs_done) else f"snapshot after {words} epochs"


def of_epoch(folder: JobFolder, epoch: int) -> SnapshotFile:
    return SnapshotFile(folder.snapshot(epoch), epoch)


def passing(folder: JobFolder, epoch: int, step: int) -> SnapshotFile:
    return SnapshotFile(folder.passing_snapshot(epoch, step), epoch, step)


def snapshot_files(folder: JobFolder) -> list[SnapshotFile]:
    """Every snapshot, newest first."""
    found = [of_epoch(folder, epoch) for epoch in folder.snapshot_epochs()]
    for path in folder.snapshots.glob("passing_*_*.pt"):
        epoch, _, step = path.stem.removeprefix("passing_").partition("_")
        if epoch.isdecimal() and step.isdecimal() and folder.passing_snapshot(int(epoch), int(step)) == path:
            found.append(SnapshotFile(path, int(epoch), int(step)))
    # There may be thousands: a manifest is read only where the epoch alone does not tell.
    shared = {snapshot.epoch for snapshot in found if snapshot.step is not None}
    # Of two of one step that of the epoch comes first: its validation may be done, too.
    return sorted(found, key=lambda snapshot: (-snapshot.epoch, -_step(snapshot) if snapshot.epoch in shared else 0))


def _step(snapshot: SnapshotFile) -> float:
    manifest = snapshot.manifest()
    # One that was not finished is the last of its epoch that was begun.
    return math.inf if manifest is None else manifest.step


def write_snapshot(snapshot: SnapshotFile, content: bytes, step: int, validation_loss: float | None = None,
                   training_loss: float | None = None, epochs_done: float | None = None) -> None:  # fmt: skip
    """Write the file, then its manifest. An earlier one of the same epoch stays, as a passing one.

    A crash between the two leaves a file that does not match, and the training goes on from the one before.
    """
    if not snapshot.path.parent.exists():
        snapshot.path.parent.mkdir()
        sync_folder(snapshot.path.parent.parent)
    write_whole(snapshot.path, content, lambda: _make_way(snapshot))
    # What is not finished has no manifest, neither that of the one before.
    snapshot.manifest_path.unlink(missing_ok=True)
    digest = hashlib.sha256(content).hexdigest()
    losses = (_finite(validation_loss), _finite(training_loss))
    manifest = Manifest(snapshot.epoch, step, len(content), digest, *losses, epochs_done)
    write_json(snapshot.manifest_path, asdict(manifest))


def _make_way(snapshot: SnapshotFile) -> None:
    """Give a good snapshot of this epoch that is there already, as a pause leaves it, the name of a passing one: until the
    new one has its manifest there is no better one to go on from."""
    manifest = snapshot.manifest()
    # Read to its end: where a disk failed and this is tried again, the new one may lie beside the manifest of the old one.
    if snapshot.step is not None or manifest is None or snapshot.fault_on_disk():
        return
    kept = passing(JobFolder(snapshot.path.parents[1]), snapshot.epoch, manifest.step)
    # Its manifest first: the file is whole, and is to be so under its new name from the first moment.
    write_json(kept.manifest_path, asdict(manifest))
    publish(snapshot.path, kept.path)


def _size(snapshot: SnapshotFile) -> int | None:
    with suppress(FileNotFoundError):
        return snapshot.path.stat().st_size
    return None


def remove_half_snapshots(folder: JobFolder) -> list[int]:
    """Remove what a worker left that died while it wrote; the epochs whose snapshot had made way for one that did not come."""
    for path in folder.snapshots.glob(".*.tmp"):
        path.unlink()
    manifests = [*folder.snapshots.glob("snapshot_*.json"), *folder.snapshots.glob("passing_*.json")]
    alone = [path for path in manifests if path.is_file() and not path.with_suffix(".pt").exists()]
    for path in alone:
        path.unlink()
    epochs = (path.stem.removeprefix("snapshot_") for path in alone)
    return sorted(int(epoch) for epoch in epochs if epoch.isdecimal())


@contextmanager
def open_snapshot(snapshot: SnapshotFile) -> Iterator[BufferedReader]:
    """The snapshot's file, compared with its manifest; UserError when it is damaged.

    Without a manifest it is open all the same: an older Layerscope wrote none. No training goes on from that.
    """
    has_manifest = snapshot.manifest_path.exists()
    with open_plain(snapshot.path) as file:
        if has_manifest and (fault := snapshot.fault(file)):
            raise UserError(f"The {snapshot.name} cannot be read ({fault}). Choose another one.")
        file.seek(0)
        yield file


def newest_good_snapshot(folder: JobFolder) -> NewestGood:
    """The newest snapshot that matches its manifest. Reads it, and all that are newer, to the end."""
    damaged: dict[SnapshotFile, str] = {}
    for snapshot in snapshot_files(folder):
        fault = snapshot.fault_on_disk()
        if fault is None:
            return NewestGood(snapshot, damaged)
        damaged[snapshot] = f"The {snapshot.name} is damaged: {fault}."
    return NewestGood(None, damaged)


def newest_whole(folder: JobFolder) -> Manifest | None:
    """The newest snapshot that has a manifest and the size that this says. Costs little."""
    for snapshot in snapshot_files(folder):
        manifest = snapshot.manifest()
        if manifest and _size(snapshot) == manifest.size:
            return manifest
    return None


def newest_step(folder: JobFolder) -> int:
    """The step of the newest snapshot by the manifests alone; 0 where there is none. Costs little."""
    manifests = (snapshot.manifest() for snapshot in snapshot_files(folder))
    return next((manifest.step for manifest in manifests if manifest), 0)


def superfluous(folder: JobFolder, keep: KeepSnapshots, last: int) -> list[SnapshotFile]:
    """What need not be kept any more. The newest two always are, and one that is damaged is not touched."""
    files = snapshot_files(folder)
    whole = ((snapshot, manifest) for snapshot in files if (manifest := snapshot.manifest()))
    kept = {snapshot for snapshot, _ in islice(whole, FEWEST)}
    if keep == "all":
        kept |= {snapshot for snapshot in files if snapshot.step is None}
        return [snapshot for snapshot in files if snapshot not in kept and snapshot.manifest()]
    known = {snapshot: manifest for snapshot in files if (manifest := snapshot.manifest())}
    of_epochs = [snapshot for snapshot in known if snapshot.step is None]
    kept |= set(of_epochs[: max(last, FEWEST)])
    if keep == "best" and of_epochs:
        kept.add(min(of_epochs, key=lambda snapshot: _rank(known[snapshot])))
    return [snapshot for snapshot in known if snapshot not in kept]


def _rank(manifest: Manifest) -> tuple[bool, float, int]:
    """The best first. Losses of validations and of trainings do not compare."""
    validated = manifest.validation_loss is not None
    loss = manifest.validation_loss if validated else manifest.training_loss
    return not validated, math.inf if loss is None else loss, manifest.step


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
