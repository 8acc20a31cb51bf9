"""Processes that are kept warm for the next question, a few at a time, each about one job."""

import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

from jobs.children import Launcher
from jobs.errors import BadImage, UserError
from jobs.passing_folders import PassingFolder
from jobs.plain_files import NoPlainFile, write_plain
from jobs.processes import LineProcess


class WarmProcess:
    """A process that answers questions, the turn to speak to it, and its scratch folder, all that it may write.

    It sees no other picture of the server's than those that it is asked about.
    """

    def __init__(self, launcher: Launcher, module: str, arguments: Sequence[str], reads: Sequence[Path], log: Path,
                 wants_torch: bool = True) -> None:  # fmt: skip
        self.turn = threading.Lock()
        self._folder = PassingFolder("warm")
        scratch, self._pictures = self._folder.path / "scratch", self._folder.path / "pictures"
        try:
            scratch.mkdir()
            self._pictures.mkdir()
            with _log(log) as said:
                self.process = LineProcess(
                    launcher, module, arguments, scratch, said, [*reads, self._pictures], wants_torch
                )
        except BaseException:
            self._folder.remove()
            raise

    @contextmanager
    def copy_of(self, image: Path) -> Iterator[Path]:
        """The picture where the process may read it."""
        copy = self._pictures / "picture"
        try:
            try:
                shutil.copyfile(image, copy)
            except OSError as error:
                raise BadImage(f"The file cannot be read: {error.strerror or error}.") from error
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def end(self) -> None:
        self.process.end()
        self._folder.remove()


def _log(path: Path) -> BufferedWriter:
    try:
        return write_plain(path, "ab")
    except NoPlainFile as error:
        raise UserError(
            f"What is called {path.name} in the folder of the job is no file, so no log can be kept there. Make the job anew."
        ) from error


class WarmProcesses:
    """A process for each of the jobs that were asked about last. The least recently used makes room for a new one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._warm: OrderedDict[str, WarmProcess] = OrderedDict()

    @contextmanager
    def in_turn(self, job_id: str, start: Callable[[], WarmProcess]) -> Iterator[WarmProcess]:
        """The job's process, while it is our turn to speak to it; one that then ends is forgotten."""
        while True:
            warm = self._newest(job_id, start)
            with warm.turn:
                # It may have ended, to make room for another, before it was our turn.
                if not warm.process.alive:
                    continue
                try:
                    yield warm
                finally:
                    if not warm.process.alive:
                        self._discard(job_id, warm)
                return

    def _newest(self, job_id: str, start: Callable[[], WarmProcess]) -> WarmProcess:
        with self._lock:
            warm = self._warm.get(job_id)
            if warm is not None and not warm.process.alive:
                warm.end()
                warm = None
            if warm is None:
                warm = self._warm[job_id] = start()
            self._warm.move_to_end(job_id)
            surplus = [self._warm.popitem(last=False)[1] for _ in range(len(self._warm) - self._most)]
        for old in surplus:
            with old.turn:
                old.end()
        return warm

    def forget(self, job_id: str) -> None:
        """End the process of a job, if there is one."""
        with self._lock:
            warm = self._warm.get(job_id)
        if warm is not None:
            self._discard(job_id, warm)

    def _discard(self, job_id: str, warm: WarmProcess) -> None:
        """End this process, and leave alone another that may have taken its place."""
        with self._lock:
            if self._warm.get(job_id) is warm:
                del self._warm[job_id]
        warm.end()

    def close(self) -> None:
        for job_id in list(self._warm):
            self.forget(job_id)
