"""Snapshots on disk: a file of tensors and, written after it, a manifest by which a damaged one is known. Free of torch."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from jobs.errors import UserError
from jobs.folder import JobFolder, sync_folder, write_json, write_whole


@dataclass(frozen=True)
class Manifest:
    """What a snapshot's file has to be."""

    epoch: int
    step: int
    size: int
    sha256: str

    def matches(self, file: BufferedReader) -> bool:
        """Reads the file to its end."""
        return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


@dataclass(frozen=True)
class NewestGood:
    """The newest snapshot that is as it was written, None where there is none; what is wrong with newer ones, by epoch."""

    manifest: Manifest | None
    damaged: dict[int, str]


def write_snapshot(folder: JobFolder, epoch: int, step: int, content: bytes) -> str:
    """Write the file, then its manifest; the file's path relative to the job folder.

    A crash between the two leaves a file that does not match, and the training goes on from the one before.
    """
    if not folder.snapshots.exists():
        folder.snapshots.mkdir()
        sync_folder(folder.path)
    path = folder.snapshot(epoch)
    write_whole(path, content)
    manifest = Manifest(epoch, step, len(content), hashlib.sha256(content).hexdigest())
    write_json(folder.snapshot_manifest(epoch), asdict(manifest))
    return str(path.relative_to(folder.path))


@contextmanager
def open_snapshot(folder: JobFolder, epoch: int) -> Iterator[BufferedReader]:
    """The snapshot's file, compared with its manifest; UserError when there is none or it is damaged.

    Without a manifest it is open all the same: an older Layerscope wrote none. No training goes on from that.
    """
    path = folder.snapshot(epoch)
    if not path.exists():
        there_are = ", ".join(map(str, folder.snapshot_epochs())) or "none yet"
        raise UserError(f"There is no snapshot of epoch {epoch}. There are: {there_are}.")
    has_manifest = folder.snapshot_manifest(epoch).exists()
    with path.open("rb") as file:
        if has_manifest and (fault := _fault(folder, epoch, file)):
            raise UserError(f"The snapshot of epoch {epoch} cannot be read ({fault}). Choose another one.")
        file.seek(0)
        yield file


def newest_good_snapshot(folder: JobFolder) -> NewestGood:
    """The newest snapshot that matches its manifest. Reads it, and all that are newer, to the end."""
    damaged: dict[int, str] = {}
    for epoch in reversed(folder.snapshot_epochs()):
        with folder.snapshot(epoch).open("rb") as file:
            fault = _fault(folder, epoch, file)
        if fault is None:
            return NewestGood(_read_manifest(folder, epoch), damaged)
        damaged[epoch] = f"The snapshot of epoch {epoch} is damaged: {fault}."
    return NewestGood(None, damaged)


def set_aside(folder: JobFolder, epoch: int) -> Path:
    """Take a damaged snapshot out of the way of one that is to come, and keep it for who wants to look."""
    folder.snapshot_manifest(epoch).unlink(missing_ok=True)
    path = folder.snapshot(epoch)
    return path.rename(path.with_name(f"{path.name}.damaged"))


def newest_step(folder: JobFolder) -> int:
    """The step of the newest snapshot by the manifests alone; 0 where there is none. Costs little."""
    for epoch in reversed(folder.snapshot_epochs()):
        if manifest := _read_manifest(folder, epoch):
            return manifest.step
    return 0


def _fault(folder: JobFolder, epoch: int, file: BufferedReader) -> str | None:
    """What is wrong with a snapshot's file, for a person; None when nothing is."""
    if not folder.snapshot_manifest(epoch).exists():
        return "its manifest is missing: it was not finished"
    manifest = _read_manifest(folder, epoch)
    if manifest is None:
        return "its manifest cannot be read"
    size = folder.snapshot(epoch).stat().st_size
    if size != manifest.size:
        return f"it has {size:,} bytes, and {manifest.size:,} were written"
    return None if manifest.matches(file) else "its content is not what was written"


def _read_manifest(folder: JobFolder, epoch: int) -> Manifest | None:
    """None for one that is not there or that is damaged."""
    try:
        values: dict[str, Any] = json.loads(folder.snapshot_manifest(epoch).read_bytes())
        manifest = Manifest(int(values["epoch"]), int(values["step"]), int(values["size"]), str(values["sha256"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return manifest if manifest.epoch == epoch else None
