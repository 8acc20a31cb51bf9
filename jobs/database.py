"""A SQLite file of ours: one connection with a lock, transactions, and a schema that is brought up to date."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import DISK_FULL, EnvironmentFault

# Another process may be writing: the command `layerscope user` beside a server.
SECONDS_TO_WAIT_FOR_OTHERS = 10.0

NOT_WRITTEN = (
    "The list of {contents} could not be written: {reason}. See to the disk of the data directory, then try again."
)


class Database:
    """Thread-safe: one connection, one lock. `steps` are the schema and, after it, what brings an older file to the next
    version; `contents` is what the file holds, in words."""

    def __init__(self, path: Path, steps: Sequence[str], contents: str) -> None:
        self._lock = threading.RLock()
        # Only for who runs the server. SQLite gives its files beside this one the same rights.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = sqlite3.connect(
            path, SECONDS_TO_WAIT_FOR_OTHERS, check_same_thread=False, isolation_level=None
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._contents = contents
        self._bring_up_to_date(steps)

    def _bring_up_to_date(self, steps: Sequence[str]) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(steps):
            raise EnvironmentFault(
                f"The list of {self._contents} was written by a newer Layerscope (version {version}; this one knows "
                f"{len(steps)}). Update Layerscope, or name another data directory."
            )
        if version < len(steps):
            missing = " ".join(steps[version:])
            self._connection.executescript(f"BEGIN; {missing} PRAGMA user_version={len(steps)}; COMMIT;")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                # Some errors, such as a full disk, have rolled back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    is_full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
                    words = NOT_WRITTEN.format(contents=self._contents, reason=error)
                    raise EnvironmentFault(DISK_FULL if is_full else words) from error
                raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()
