"""LMDB folders of Caffe Datum: written whole or not at all, and checked before they are read."""

import os
import re
import shutil
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb
from numpy.typing import NDArray

from jobs.errors import DISK_FULL, FREE_OF_FULL_DISK, BadDatabase, EnvironmentFault
from jobs.folder import publish
from jobs.storage.datum import BadDatum, Datum, Pixels, image_of, label_of, parse_datum

Item = tuple[bytes, bytes]

FIRST_MAP_SIZE = 64 << 20

# The first two pages of a data.mdb of a 64-bit machine: a page header, then magic, version, address and size of the
# map, two trees (pad, flags, depth, branch pages, leaf pages, overflow pages, entries, root), last page, transaction.
_META = struct.Struct("<16x IIQQ IHHQQQQQ IHHQQQQQ QQ")
_MAGIC = 0xBEEFC0DE

# DIGITS's and our keys: place in the list, label.
_KEY_WITH_LABEL = re.compile(rb"\d{8,}_(\d+)")


@dataclass(frozen=True)
class Record:
    """One record; `index` is its place in the order of keys, which is the order of their bytes.

    What it holds is parsed when it is asked for; BadDatabase then names the record.
    """

    folder: Path
    index: int
    key: str
    value: bytes

    @cached_property
    def datum(self) -> Datum:
        with self._named():
            return parse_datum(self.value)

    @property
    def label(self) -> int:
        return self.datum.label

    def image(self) -> Pixels:
        """The picture (C, H, W), RGB when C is 3."""
        with self._named():
            return image_of(self.datum)

    def target(self) -> NDArray[Any]:
        """What the record says in a database of labels: a picture (C, H, W), a vector (K), or a number."""
        with self._named():
            return label_of(self.datum)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except BadDatum as error:
            raise BadDatabase(f'Record "{self.key}" of the database {self.folder} cannot be used. {error}') from error


@dataclass(frozen=True)
class _Meta:
    """What the header of a data.mdb says."""

    entries: int
    whole_bytes: int
    transaction: int


def count_entries(folder: Path) -> int:
    """How many records the database has; BadDatabase when it is none, is cut off, or is empty.

    Looks at the header only, with plain reads: to read a page that a cut-off file does not have would be a SIGBUS,
    which ends the process without a word.
    """
    path = folder / "data.mdb"
    if not folder.is_dir():
        raise BadDatabase(f"There is no folder {folder}.")
    if not path.is_file():
        raise BadDatabase(f"{folder} is no LMDB: it has no file data.mdb.")
    try:
        with path.open("rb") as file:
            meta = _read_meta(file.read(4096 * 16 + _META.size))
            found_bytes = os.fstat(file.fileno()).st_size
    except PermissionError as error:
        raise BadDatabase(f"{path} may not be read by the server's user. Change its permissions.") from error
    if meta is None:
        raise BadDatabase(f"{path} is no LMDB of this kind of machine: its header is not the one of an LMDB.")
    if found_bytes < meta.whole_bytes:
        raise BadDatabase(
            f"The database {folder} is cut off: data.mdb has {found_bytes:,} bytes of at least {meta.whole_bytes:,}. "
            "Perhaps a copy was interrupted: copy or make it again."
        )
    if not meta.entries:
        raise BadDatabase(f"The database {folder} is empty: it has no records.")
    return meta.entries


def _read_meta(head: bytes) -> _Meta | None:
    """The newer one of the two headers, which begin the first two pages; None when there is none."""
    first = _parse_meta(head, 0)
    if first is None:
        return None
    meta, page_bytes = first
    second = _parse_meta(head, page_bytes)
    return max(meta, second[0], key=lambda meta: meta.transaction) if second else meta


def _parse_meta(head: bytes, offset: int) -> tuple[_Meta, int] | None:
    if len(head) < offset + _META.size:
        return None
    fields = _META.unpack_from(head, offset)
    magic, version, page_bytes = fields[0], fields[1], fields[4]
    entries, last_page, transaction = fields[18], fields[20], fields[21]
    if magic != _MAGIC or version not in (1, 2) or not 256 <= page_bytes <= 65536:
        return None
    return _Meta(entries, (last_page + 1) * page_bytes, transaction), page_bytes


class Database:
    """A checked database, open for reading. Threads may share it."""

    def __init__(self, folder: Path, environment: Any, entries: int) -> None:
        self.folder = folder
        self.entries = entries
        self._environment = environment

    def __len__(self) -> int:
        return self.entries

    def items(self) -> Iterator[Item]:
        """Keys and values in the order of keys."""
        with self._environment.begin() as transaction:
            yield from transaction.cursor().iternext(keys=True, values=True)

    def keys(self) -> Iterator[bytes]:
        with self._environment.begin() as transaction:
            yield from transaction.cursor().iternext(keys=True, values=False)

    def first(self) -> Record:
        return next(self.records(0, 1))

    def record(self, index: int) -> Record:
        """The record at this place; IndexError past the last."""
        for record in self.records(index, 1):
            return record
        raise IndexError(f"The database has {self.entries:,} records; there is none at {index:,}.")

    def records(self, start: int, count: int, label: int | None = None) -> Iterator[Record]:
        """`count` records from the `start`-th on; with `label`, of those that carry it."""
        places = enumerate(self.keys()) if label is None else self._places_with(label)
        chosen = list(islice(places, start, start + count))
        with self._environment.begin() as transaction:
            for index, key in chosen:
                yield self._record(index, key, transaction.get(key))

    def records_from(self, first_key: bytes, start: int, count: int) -> Iterator[Record]:
        """`count` records from `first_key` on, which is the key of the `start`-th: found without a walk to it."""
        with self._environment.begin() as transaction:
            cursor = transaction.cursor()
            if cursor.set_range(first_key):
                for place, (key, value) in enumerate(islice(cursor.iternext(keys=True, values=True), count)):
                    yield self._record(start + place, key, value)

    def _record(self, index: int, key: bytes, value: bytes) -> Record:
        return Record(self.folder, index, key.decode(errors="backslashreplace"), value)

    def _places_with(self, label: int) -> Iterator[tuple[int, bytes]]:
        """Places and keys of the records with this label: quick when the keys tell it, as DIGITS's and ours do."""
        if _KEY_WITH_LABEL.fullmatch(next(self.keys())):
            ending = b"_%d" % label
            yield from ((index, key) for index, key in enumerate(self.keys()) if key.endswith(ending))
        else:
            for index, (key, value) in enumerate(self.items()):
                if self._record(index, key, value).label == label:
                    yield index, key


_open: dict[Path, tuple[Any, int]] = {}
_opening = threading.Lock()


@contextmanager
def open_database(folder: Path) -> Iterator[Database]:
    """The database of a folder, for reading; BadDatabase says what is wrong with it. Writes nothing, takes no lock."""
    entries = count_entries(folder)
    path = folder.resolve()
    environment = _acquire(path)
    try:
        yield Database(folder, environment, entries)
    except lmdb.Error as error:
        raise BadDatabase(f"The database {folder} is damaged: {error}.") from error
    finally:
        _release(path)


def _acquire(path: Path) -> Any:
    """The environment of a folder. LMDB can be opened once in a process, so those who read at one time share it."""
    with _opening:
        environment, users = _open.get(path, (None, 0))
        if environment is None:
            try:
                environment = lmdb.open(str(path), readonly=True, lock=False, create=False, max_spare_txns=8)
            except lmdb.Error as error:
                raise BadDatabase(f"The database {path} cannot be opened: {error}.") from error
        _open[path] = (environment, users + 1)
        return environment


def _release(path: Path) -> None:
    with _opening:
        environment, users = _open.pop(path)
        if users > 1:
            _open[path] = (environment, users - 1)
        else:
            environment.close()


class DatabaseWriter:
    """Writes a database beside its place and publishes it when the `with` block ends well; else nothing is left of it.

    Keys must come in the order of their bytes.
    """

    def __init__(self, folder: Path, first_map_size: int = FIRST_MAP_SIZE) -> None:
        self._folder = folder
        self._temporary = folder.with_name(f".{folder.name}.tmp")
        self._map_size = first_map_size
        self.entries = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir()
        # Nobody reads it before it is published: one sync, at the end, is enough.
        try:
            self._environment = lmdb.open(str(self._temporary), map_size=self._map_size, sync=False, lock=False)
        except lmdb.Error as error:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise self._not_written(error) from error
        return self

    def put(self, items: Sequence[Item]) -> None:
        """Append records in one transaction; the more at once, the faster."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    _, added = transaction.cursor().putmulti(items, append=True)
                    assert added == len(items), "keys must come in the order of their bytes"
            except lmdb.MapFullError:
                self._map_size *= 2
                self._environment.set_mapsize(self._map_size)
            except lmdb.Error as error:
                raise self._not_written(error) from error
            else:
                self.entries += len(items)
                return

    def _not_written(self, error: lmdb.Error) -> EnvironmentFault:
        # LMDB calls a write that the full disk cut short an input/output error.
        free = shutil.disk_usage(self._folder.parent).free
        if free < FREE_OF_FULL_DISK:
            return EnvironmentFault(DISK_FULL)
        return EnvironmentFault(
            f"The database {self._folder.name} could not be written: {error}. {free:,} bytes are free on its disk."
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        try:
            if error is None:
                self._environment.sync(True)
        except lmdb.Error as fault:
            error = fault
            raise self._not_written(fault) from fault
        finally:
            self._environment.close()
            if error is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)
        # Left by a worker that died after it had published it.
        if error is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            publish(self._temporary, self._folder)
