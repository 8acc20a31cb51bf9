"""A job is a folder: the whole contract between the web and the work."""

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from jobs.errors import UserError
from jobs.plain_files import NoPlainFile, open_plain, write_plain
from jobs.specs import JobSpec, ServerPaths

# As DIGITS wrote them.
JOB_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
# A pasted network, or the labels of a dataset, is a small part of it.
LARGEST_JSON_BYTES = 2**26


@dataclass(frozen=True)
class JobFolder:
    """Names and paths of what a job keeps. The server writes `spec.json` once; the worker writes everything else."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "worker.log"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def dataset(self) -> Path:
        """What a dataset job made, as JSON; written last, so that its presence means that the dataset is whole."""
        return self.path / "dataset.json"

    @property
    def pin(self) -> Path:
        """Which image a training shows while it runs; written by the server whenever a person picks one."""
        return self.path / "pin.json"

    @property
    def attributes(self) -> Path:
        """What people wrote about the job, besides what stands in the list of jobs; written by the server."""
        return self.path / "attributes.json"

    @property
    def wish(self) -> Path:
        """Why the job was to stop, as long as it rests; written by the server, for when the list of jobs is lost."""
        return self.path / "wish.json"

    @property
    def frames(self) -> Path:
        """What the layers made of the pinned image, again and again."""
        return self.path / "frames"

    def frame(self, number: int) -> Path:
        return self.frames / f"frame_{number}.json.gz"

    @property
    def extensions(self) -> Path:
        """The epochs that were added to a training when it had ended; written by the server."""
        return self.path / "extensions.json"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    def size_bytes(self) -> int:
        """What the job keeps on disk. A worker may be at work there, and may have nested its folders as deep as it likes."""
        total, folders = 0, [os.fspath(self.path)]
        while folders:
            with suppress(OSError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    with suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_size
        return total

    def open(self, path: Path) -> BufferedReader:
        """A file of the job's own, to send; OSError where a worker has put a link that leads out, or a pipe, in its place."""
        return ServerPaths((self.path,)).open(path)

    def snapshot(self, epoch: int) -> Path:
        return self.snapshots / f"snapshot_{epoch}.pt"

    def passing_snapshot(self, epoch: int, step: int) -> Path:
        """One that was taken between those of epochs, to go on from and not to test."""
        return self.snapshots / f"passing_{epoch}_{step}.pt"

    def snapshot_epochs(self) -> list[int]:
        """Epochs that have a snapshot, oldest first."""
        found = ((path, path.stem.removeprefix("snapshot_")) for path in self.snapshots.glob("snapshot_*.pt"))
        # A file with another way to write the number is none of ours.
        return sorted(int(name) for path, name in found if name.isdecimal() and self.snapshot(int(name)) == path)

    def source(self, path: str) -> Path:
        """A source by the path that was given for it. What lies in a job's folder is found when all jobs have moved."""
        given = Path(path)
        inside = next((parent for parent in given.parents if JOB_ID.fullmatch(parent.name)), None)
        if given.exists() or inside is None:
            return given
        return self.path.parent / inside.name / given.relative_to(inside)

    def clear(self) -> None:
        """Remove what a worker made that did not finish, for one that begins anew; what says that it is whole goes first."""
        self.dataset.unlink(missing_ok=True)
        kept = {self.spec, self.attributes, self.wish, self.events, self.log, self.lock}
        for path in self.path.iterdir():
            if path in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                # What the server writes just now has another name by then.
                path.unlink(missing_ok=True)

    def spec_sha256(self) -> str:
        return hashlib.sha256(read_whole(self.spec)).hexdigest()

    def read_spec(self, sha256: str | None = None) -> dict[str, Any]:
        """What the job was asked. UserError where that is not what had this SHA-256 when the job was entered: what a worker
        may read is taken from it, and the network of an earlier one may have written it."""
        content = read_whole(self.spec)
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise UserError(
                "The file spec.json in its folder was changed after the job was entered, by hand or by the network's own "
                "code. Make the job anew."
            )
        spec: dict[str, Any] = json.loads(content)
        return spec

    def read_dataset(self) -> dict[str, Any]:
        """What was made of the dataset; FileNotFoundError where that is not done, or it was deleted meanwhile."""
        dataset: dict[str, Any] = json.loads(read_whole(self.dataset))
        return dataset

    def dataset_if_made(self) -> dict[str, Any] | None:
        try:
            return self.read_dataset()
        except FileNotFoundError:
            return None


def job_holding(path: Path, jobs_dir: Path) -> str | None:
    """The job in whose folder a path lies, or lay before all jobs moved; None for any other path."""
    real, jobs = path.resolve(), jobs_dir.resolve()
    if jobs in real.parents:
        return real.relative_to(jobs).parts[0]
    names = (parent.name for parent in (real, *real.parents))
    return next((name for name in names if JOB_ID.fullmatch(name) and (jobs_dir / name).exists()), None)


def paths_read_by(spec: JobSpec, folder: JobFolder, paths: ServerPaths) -> ServerPaths:
    """What the job of this spec may read of the folders that forms may name: of other jobs, what its form names by a path."""
    return paths.but_only([folder.path, *(folder.source(str(path)) for path in spec.paths())])


def jobs_read_by(spec: JobSpec, jobs_dir: Path) -> set[str]:
    """The jobs whose folders the job of this spec reads: its dataset, and those of files that its form names."""
    found = (spec.parent_id(jobs_dir), *(job_holding(path, jobs_dir) for path in spec.paths()))
    return {job_id for job_id in found if job_id is not None}


def new_job_id(now: datetime) -> str:
    """Local time and two random bytes: `20151111-210842-a4ec`."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def time_of_id(job_id: str) -> datetime:
    """When the job was made, by the clock of this machine's place; ValueError where the id is of no time."""
    return datetime.strptime(job_id[:15], "%Y%m%d-%H%M%S").astimezone()


def read_whole(path: Path) -> bytes:
    """What a small file holds; ValueError for one that pasted code has made so large that it would fill the memory, and for
    what is no file."""
    try:
        file = open_plain(path)
    except NoPlainFile as error:
        raise ValueError(f"What is called {path.name} is no file.") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_JSON_BYTES:
            raise ValueError(f"The file {path.name} has {size:,} bytes, and at most {LARGEST_JSON_BYTES:,} are read.")
        return file.read(size)


def write_whole(path: Path, content: bytes, make_way: Callable[[], None] | None = None) -> None:
    """Write, fsync, replace, fsync the folder: a reader finds the old file or the new one, never half of one.

    `make_way` is called in between, when the disk has taken all of it: what it moves away is missing for a moment only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with write_plain(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if make_way is not None:
            make_way()
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Give a finished, fsynced file or folder its name, and make the name survive a loss of power."""
    temporary.replace(path)
    sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it; of a link that somebody put in its place, the link alone."""
    if path.is_symlink():
        path.unlink()
        return
    try:
        shutil.rmtree(path)
    except RecursionError:
        # Pasted code has nested its folders deeper than Python's functions go.
        subprocess.run(["rm", "-rf", "--", path], check=False)  # noqa: S607  wherever the system has it
        if path.exists():
            raise OSError(errno.ENOTEMPTY, "its folders cannot be removed", str(path)) from None


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, value: Any) -> None:
    write_whole(path, json.dumps(value, allow_nan=False, indent=1).encode())


def take_lock(path: Path) -> BinaryIO | None:
    """Hold the job's lock until the returned file closes; None when another process holds it."""
    file = write_plain(path, "ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def sign_lock(lock: BinaryIO) -> None:
    """Write who holds the lock, for people who look. The server knows its workers by `jobs.worker_identity`."""
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())
    lock.flush()


def lock_is_held(path: Path) -> bool:
    """Whether a worker is alive on this job. The kernel lets go of the lock when its process ends, however it ends."""
    try:
        # Only to read: on a disk that has become read-only, too.
        file = open_plain(path)
    except (FileNotFoundError, NotADirectoryError, NoPlainFile):
        # What pasted code has put in its place can be held by nobody.
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
