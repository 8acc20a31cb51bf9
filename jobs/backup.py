"""A copy of the list of jobs, taken beside a server that runs, and put back where none does."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from jobs.errors import UserError
from jobs.folder import publish
from jobs.rebuilding import damage_of, set_aside


def back_up(database: Path, file: Path) -> int:
    """Copy the list as it is at one moment; how many jobs are in it. The copy is whole, or there is none."""
    if not database.exists():
        raise UserError(f"There is no list of jobs {database}. Name the data directory with --data-dir.")
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)
            # One file, without a log beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
            (count,) = copy.execute("SELECT count(*) FROM jobs").fetchone()
        _refuse_damaged(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        publish(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return int(count)


def restore(file: Path, database: Path) -> Path | None:
    """Put a copy in the place of the list. No server may run. Where the list went that was there before."""
    _refuse_damaged(file)
    temporary = database.with_name(f".{database.name}.tmp")
    try:
        shutil.copyfile(file, temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        before = set_aside(database, "before-restore") if database.exists() else None
        publish(temporary, database)
    finally:
        temporary.unlink(missing_ok=True)
    return before


def _refuse_damaged(file: Path) -> None:
    if damage := damage_of(file):
        raise UserError(f"The copy {file} is damaged: {damage}. Nothing was changed.")
