"""Folders of the system's temporary one for what passes, as pictures that somebody sends: a server that is killed leaves
them, and the next one removes them.
"""

import logging
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.folder import remove_folder, take_lock

log = logging.getLogger(__name__)

PREFIX = "layerscope-"
# The file whose lock says that whoever made the folder is alive: the kernel lets go of it with the process.
HELD = "held"


class PassingFolder:
    """Removed by `remove()`, or by a later server. What is in it lies in `path`."""

    def __init__(self, what: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{what}-")
        whole = Path(self._folder.name)
        self._lock = take_lock(whole / "new")
        # Who looks for what was left behind looks at no folder whose lock is not taken yet.
        (whole / "new").rename(whole / HELD)
        self.path = whole / "content"
        self.path.mkdir()

    def remove(self) -> None:
        self._folder.cleanup()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def remove_left_behind(uploads: Path) -> None:
    """Remove the folders whose makers have ended without it, and all of `uploads`, which are this server's alone."""
    for upload in uploads.iterdir():
        try:
            upload.unlink()
        except OSError as error:
            log.warning("The picture %s, which was sent to an earlier server, cannot be removed: %s.", upload, error)
    for held in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{HELD}"):
        try:
            if held.parent.lstat().st_uid != os.geteuid() or (lock := take_lock(held)) is None:
                continue
            with lock:
                remove_folder(held.parent)
        except OSError as error:
            # Another server of the same user may be about the same.
            log.warning("What a server left behind in %s cannot be removed: %s.", held.parent, error)
