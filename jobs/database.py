"""A SQLite file of ours: one connection with a lock, transactions, and a schema that is brought up to date; and what is
wrong in one that is damaged.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import DISK_FULL, DamagedDatabase, EnvironmentFault, LayerscopeError

# Another process may be writing: the command `layerscope user` beside a server.
SECONDS_TO_WAIT_FOR_OTHERS = 10.0

# Of SQLite's complaints, those of the machine and of other programs. All others are of the file.
NOT_OF_THE_FILE = {sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM,
                   sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
                   sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH}  # fmt: skip
# In the header as the application's id: the version once more. A newer Layerscope writes both.
MARK = 0x4C730000

NOT_WRITTEN = (
    "The list of {contents} could not be written: {reason}. See to the disk of the data directory, then try again."
)


def damage_of(database: Path) -> str | None:
    """What SQLite finds wrong in the file; None when it is good, or is not there yet."""
    if not database.exists():
        return None
    connection = sqlite3.connect(database, SECONDS_TO_WAIT_FOR_OTHERS)
    # What is damaged may be no UTF-8.
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        with what_fails_is_damaged():
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except DamagedDatabase as damage:
        return str(damage)
    finally:
        connection.close()
    if found != "ok":
        return str(found)
    with database.open("rb") as file:
        versions = file.read(20)[18:]
    # SQLite itself only refuses to write where these are too high.
    return "its header is none of ours" if versions.strip(b"\1\2") else None


@contextmanager
def what_fails_is_damaged() -> Iterator[None]:
    """Raise DamagedDatabase for all that goes wrong while a file is opened or read, but for what the machine does. What a
    damaged file makes of our questions nobody can foresee."""
    try:
        yield
    except (LayerscopeError, OSError, MemoryError):
        raise
    except Exception as error:
        # Python's own complaints of what it reads have no code. Of the extended ones the low byte says the kind.
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in NOT_OF_THE_FILE:
            raise
        raise DamagedDatabase(str(error)) from error


class Database:
    """Thread-safe: one connection, one lock. `steps` are the schema and, after it, what brings an older file to the next
    version; `contents` is what the file holds, in words. DamagedDatabase where the file is not sound."""

    def __init__(self, path: Path, steps: Sequence[str], contents: str) -> None:
        if damage := damage_of(path):
            raise DamagedDatabase(damage)
        self._lock = threading.RLock()
        is_new = not path.exists()
        # Only for who runs the server. SQLite gives its files beside this one the same rights.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = sqlite3.connect(
            path, SECONDS_TO_WAIT_FOR_OTHERS, check_same_thread=False, isolation_level=None
        )
        self._connection.row_factory = sqlite3.Row
        self._contents = contents
        try:
            with what_fails_is_damaged():
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("PRAGMA foreign_keys=ON")
                self._bring_up_to_date(steps)
                self._prepare()
        except BaseException:
            self._connection.close()
            if is_new and path.stat().st_size == 0:
                # It would be taken for one that has lost all that was in it.
                path.unlink()
            raise

    def _bring_up_to_date(self, steps: Sequence[str]) -> None:
        version, marked, known = self._number("user_version"), self._number("application_id") - MARK, len(steps)
        if version != marked and 0 < marked <= known:
            raise DamagedDatabase(f"its version is {version} in one place and {marked} in another")
        if version > known:
            raise EnvironmentFault(
                f"The list of {self._contents} was written by a newer Layerscope (version {version}; this one knows "
                f"{known}). Update Layerscope, or name another data directory."
            )
        missing = " ".join(steps[version:])
        if missing or marked != known:
            numbers = f"PRAGMA user_version={known}; PRAGMA application_id={MARK + known};"
            self._connection.executescript(f"BEGIN; {missing} {numbers} COMMIT;")

    def _prepare(self) -> None:
        """Whatever else is to be done before the file is used, and to be read of it to know that it is sound."""

    def _number(self, pragma: str) -> int:
        (number,) = self._connection.execute(f"PRAGMA {pragma}").fetchone()
        return int(number)

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
