"""A copy of the databases of a data directory, taken beside a server that runs, and put back where none does."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, is_zipfile

from jobs.database import damage_of
from jobs.errors import UserError
from jobs.folder import publish
from jobs.rebuilding import set_aside
from jobs.unpacking import unpack_zip

# Of both databases, unpacked.
MOST_BYTES = 2**32


@dataclass(frozen=True)
class Part:
    """A database that belongs in a copy. `rows` is the table of what it is a list of; `left_out` SQL that takes out of the copy
    what must not come back."""

    database: Path
    rows: str
    left_out: str = ""

    def count(self, copy: Path) -> int:
        with closing(sqlite3.connect(copy)) as connection:
            (count,) = connection.execute(f"SELECT count(*) FROM {self.rows}").fetchone()  # noqa: S608
        return int(count)


def back_up(parts: Sequence[Part], file: Path) -> list[int]:
    """Copy the parts, each as it is at one moment; how many rows of each. The copy is whole, or there is none."""
    first = parts[0].database
    if not first.exists():
        raise UserError(f"There is no list of jobs {first}. Name the data directory with --data-dir.")
    counts = []
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as scratch:
        archive = Path(scratch) / "archive"
        # For its owner alone: there are hashes of passwords in it.
        archive.touch(0o600)
        with ZipFile(archive, "w", ZIP_DEFLATED) as zipped:
            for part in parts:
                copy = Path(scratch) / part.database.name
                counts.append(_copy(part, copy) if part.database.exists() else 0)
                if counts[-1]:
                    zipped.write(copy, copy.name)
        _sync(archive)
        publish(archive, file)
    return counts


def _copy(part: Part, copy: Path) -> int:
    with closing(sqlite3.connect(part.database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        # One file, without a log beside it; and what is taken out of it leaves nothing behind.
        target.executescript(f"PRAGMA journal_mode=DELETE; {part.left_out}; VACUUM;")
    _refuse_damaged(copy, part.database)
    return part.count(copy)


def restore(file: Path, parts: Sequence[Part], most_bytes: int = MOST_BYTES) -> dict[Path, Path | None]:
    """Put a copy in the place of the databases. No server may run. Which were put back, and where each went that was there
    before; one without a row in it is left out.
    """
    with tempfile.TemporaryDirectory(prefix=".restore.", dir=parts[0].database.parent) as scratch:
        # All of it is looked at before anything is changed.
        found = [(part, copy) for part, copy in _unpacked(file, parts, Path(scratch), most_bytes) if part.count(copy)]
        put_back: dict[Path, Path | None] = {}
        for part, copy in found:
            # As the file that it replaces: who unpacks it here may let others read what is new.
            copy.chmod(0o600)
            _sync(copy)
            there = part.database.exists()
            put_back[part.database] = set_aside(part.database, "before-restore") if there else None
            publish(copy, part.database)
    return put_back


def _unpacked(file: Path, parts: Sequence[Part], scratch: Path, most_bytes: int) -> Iterator[tuple[Part, Path]]:
    """Each part that the copy has, and where it is now."""
    copies = {part.database.name: scratch / part.database.name for part in parts}
    if is_zipfile(file):
        try:
            unpack_zip(file, copies, most_bytes)
        except UserError as error:
            raise UserError(f"{error} Nothing was changed.") from error
    else:
        # The list of jobs alone, as copies were once.
        shutil.copyfile(file, scratch / parts[0].database.name)
    for part in parts:
        if (copy := copies[part.database.name]).exists():
            _refuse_damaged(copy, file)
            yield part, copy


def _refuse_damaged(copy: Path, file: Path) -> None:
    if damage := damage_of(copy):
        raise UserError(f"{file} is damaged: {damage}. Nothing was changed.")


def _sync(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())
