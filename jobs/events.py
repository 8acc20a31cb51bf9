"""Append-only event log of a job: one strict JSON object a line, read by byte offset."""

import json
import math
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import is_disk_full

Event = dict[str, Any]

# Lines that are passed over cost little, but not nothing: so many bytes take about a tenth of a second.
MOST_PASSED_OVER = 32_000_000

# Longer than any line that a worker writes. What pasted code has put there instead must not fill the server's memory.
LONGEST_LINE = 8_000_000

# The exit status of a worker that could not even write its last event.
STATUS_CANNOT_WRITE = os.EX_IOERR


WORDS_FOR_NUMBERS = ("nan", "infinity", "-infinity")


def in_words(value: float) -> float | str:
    """A number as strict JSON can hold it: NaN and the infinities become words."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    return value


class EventWriter:
    """Appends events. One writer a job: the worker that holds the job's lock. Its threads may write at the same time.

    On a full disk an event is written when `wait_for_room` has waited for some time and says that it is to be tried again.
    """

    def __init__(self, path: Path) -> None:
        self.wait_for_room: Callable[[], bool] = lambda: False
        _cut_torn_line(path)
        # Unbuffered: a line is one write, so that a reader sees it whole or not at all.
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()

    def write(self, type: str, /, **fields: Any) -> None:
        """Append one event. The files that it names must be complete already."""
        event = {"type": type, "time": round(time.time(), 3), **fields}
        text = json.dumps(event, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        # Names of files may be no UTF-8: what is shown and kept of them must be.
        with self._lock:
            while True:
                try:
                    return self._append(text.encode(errors="replace") + b"\n")
                except OSError as error:
                    if not is_disk_full(error) or not self.wait_for_room():
                        raise

    def _append(self, line: bytes) -> None:
        """Write the whole line or nothing of it: a full disk may take a part."""
        end = self._file.seek(0, os.SEEK_END)
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(end)
            raise

    def sync(self) -> None:
        """Make what was written survive a loss of power."""
        os.fsync(self._file.fileno())


def _cut_torn_line(path: Path) -> None:
    """Drop a last line without its end, left by a writer that died, so that the next event starts a line of its own."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content_end = file.seek(0, os.SEEK_END)
        start = max(0, content_end - 1_000_000)
        file.seek(start)
        tail = file.read()
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            file.truncate(start + whole)


@dataclass(frozen=True)
class EventPage:
    """Events from `since` up to, not including, the byte `next`; `more` says that the log goes on."""

    events: list[Event]
    since: int
    next: int
    more: bool


def read_events(
    path: Path,
    since: int = 0,
    limit_bytes: int = 1_000_000,
    without: Collection[str] = (),
    latest: Collection[str] = (),
    until: int | None = None,
) -> EventPage:
    """Whole lines from byte `since` on, up to byte `until`. A log that does not exist yet is empty. Behind a line that is
    too long nothing is read.

    A log that is shorter than `since` has lost its end with the machine's power: `next` is its size then.
    Events of the types `without` are passed over, and of each type in `latest` all but the page's last: of what is left
    about `limit_bytes` are read.
    """
    chosen = _Chosen(without, latest)
    end = since
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < since:
                return EventPage([], since, os.fstat(file.fileno()).st_size, False)
            file.seek(since)
            while line := file.readline(LONGEST_LINE):
                if not line.endswith(b"\n") or (until is not None and end + len(line) > until):
                    break
                end += len(line)
                chosen.add(line, end)
                if chosen.size >= limit_bytes or end - since >= MOST_PASSED_OVER:
                    break
            more = os.fstat(file.fileno()).st_size > end > since
    except (FileNotFoundError, IsADirectoryError):
        # Or something else is in its place: it says nothing.
        more = False
    return EventPage([_parse(line) for line in chosen.lines.values()], since, end, more)


class _Chosen:
    """The lines that are wanted, found by how a writer begins them: parsing is what costs."""

    def __init__(self, without: Collection[str], latest: Collection[str]) -> None:
        self.lines: dict[int, bytes] = {}
        self.size = 0
        self._without = tuple(_beginning(type) for type in without)
        self._latest = tuple(_beginning(type) for type in latest)
        self._places: dict[bytes, int] = {}

    def add(self, line: bytes, place: int) -> None:
        if line.startswith(self._without):
            return
        if line.startswith(self._latest):
            beginning = next(beginning for beginning in self._latest if line.startswith(beginning))
            if beginning in self._places:
                self.size -= len(self.lines.pop(self._places[beginning]))
            self._places[beginning] = place
        self.lines[place] = line
        self.size += len(line)


def _beginning(type: str) -> bytes:
    return f'{{"type":"{type}",'.encode()


def _parse(line: bytes) -> Event:
    """One line as an event. A line that is none becomes a warning: the lines after it still count."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if isinstance(event, dict) and isinstance(event.get("type"), str):
        return event
    return {"type": "message", "level": "warning", "text": f"A line of the job's events cannot be read: {line[:200]!r}"}


def all_events(path: Path, without: Collection[str] = (), until: int | None = None) -> Iterator[Event]:
    """Every whole event of the log, from the first, up to byte `until`, but for those of the types `without`."""
    since = 0
    while True:
        page = read_events(path, since, without=without, until=until)
        yield from page.events
        if not page.more or page.next == until:
            return
        since = page.next


def that_count(events: Iterable[Event]) -> list[Event]:
    """All but what is void: told of steps that a training went back behind, when it was taken up again."""
    counting = []
    step = told = math.inf
    for event in reversed(list(events)):
        # A strange one, which pasted code may have written, is for its reader to complain of.
        kept: Event | None = event
        with suppress(KeyError, TypeError, IndexError):
            if event["type"] == "resumed":
                step, told = min(step, event["step"]), min(told, event["told"])
            elif event["type"] == "train":
                kept = _points_up_to(event, told)
            elif event["type"] in ("validation", "snapshot") and event["step"] > step:
                kept = None
        if kept is not None:
            counting.append(kept)
    return counting[::-1]


def _points_up_to(event: Event, told: float) -> Event | None:
    if event["step"][-1] <= told:
        return event
    count = bisect_right(event["step"], told)
    columns = {name: column[:count] for name, column in event.items() if isinstance(column, list)}
    return {**event, **columns} if count else None
