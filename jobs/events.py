"""Append-only event log of a job: one strict JSON object a line, read by byte offset."""

import json
import math
import os
import re
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, BinaryIO

from jobs.errors import disk_fault
from jobs.plain_files import NoPlainFile, open_plain

Event = dict[str, Any]

# Lines that are passed over cost little, but not nothing: so many bytes take about a tenth of a second.
MOST_PASSED_OVER = 32_000_000

# What an event takes beside its text. Of lines without any, which pasted code may have written, a page is not full of millions.
BYTES_OF_AN_EVENT = 100

# Longer than any line that a worker writes. What pasted code has put there instead must not fill the server's memory.
LONGEST_LINE = 8_000_000

# In such pieces the last line is looked for.
BLOCK_BYTES = 1_000_000

# Of a long log this much is read in a tenth of a second or two.
PART_BYTES = 4_000_000

# Oftener nobody goes back. What pasted code has told of beside must not fill the server's memory.
MOST_RETURNS = 10_000

# Who looks for the beginnings and the ends of workers passes over nearly all of a long log.
MOST_OF_A_LOG = ("train", "validation", "progress", "usage", "frame")

# The exit status of a worker that could not even write its last event.
STATUS_CANNOT_WRITE = os.EX_IOERR


WORDS_FOR_NUMBERS = ("nan", "infinity", "-infinity")
# What a number must have to be too large for a float: to look for it costs less than to look at each number.
PERHAPS_TOO_LARGE = re.compile(rb"[eE]\+?\d{3}|\d{300}")


def in_words(value: float) -> float | str:
    """A number as strict JSON can hold it: NaN and the infinities become words."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    return value


def read_json(text: bytes) -> Any:
    """What strict JSON can say: NaN and the infinities become words, however they are written. ValueError or RecursionError
    where this is no JSON. For what pasted code may have written, and a browser is to read."""
    return json.loads(text, parse_constant=_in_words, parse_float=_in_words if PERHAPS_TOO_LARGE.search(text) else None)


def _in_words(number: str) -> float | str:
    return in_words(float(number))


class EventWriter:
    """Appends events. One writer a job: the worker that holds the job's lock. Its threads may write at the same time.

    On a disk that takes nothing an event is written when `wait_for_disk` has waited for some time and says that it is to be
    tried again.
    """

    def __init__(self, path: Path) -> None:
        self.wait_for_disk: Callable[[], bool] = lambda: False
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
                    if disk_fault(error) is None or not self.wait_for_disk():
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


def end_of_log(path: Path) -> int:
    """The byte after the last whole line; 0 for a log that is not there."""
    try:
        with open_plain(path) as file:
            return _end_of_last_whole_line(file)
    except (FileNotFoundError, NoPlainFile):
        return 0


def _cut_torn_line(path: Path) -> None:
    """Drop a last line without its end, left by a writer that died, so that the next event starts a line of its own."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        file.truncate(_end_of_last_whole_line(file))


def _end_of_last_whole_line(file: BinaryIO) -> int:
    place = file.seek(0, os.SEEK_END)
    while place:
        start = max(0, place - BLOCK_BYTES)
        file.seek(start)
        if newline := file.read(place - start).rfind(b"\n") + 1:
            return start + newline
        place = start
    return 0


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
    only: Collection[str] | None = None,
) -> EventPage:
    """Whole lines from byte `since` on, up to byte `until`. A log that does not exist yet is empty. Behind a line that is
    too long nothing is read.

    A log that is shorter than `since` has lost its end with the machine's power: `next` is the end of its last whole line
    then. Events of the types `without`, or of other types than `only`, are passed over, and of each type in `latest` all
    but the page's last: of what is left about `limit_bytes` are read.
    """
    chosen = _Chosen(without, latest, only)
    end = since
    try:
        with open_plain(path) as file:
            if os.fstat(file.fileno()).st_size < since:
                return EventPage([], since, _end_of_last_whole_line(file), False)
            file.seek(since)
            while line := file.readline(LONGEST_LINE):
                if not line.endswith(b"\n") or (until is not None and end + len(line) > until):
                    break
                end += len(line)
                chosen.add(line, end)
                if chosen.size >= limit_bytes or end - since >= MOST_PASSED_OVER:
                    break
            more = os.fstat(file.fileno()).st_size > end > since
    except (FileNotFoundError, NoPlainFile):
        # Or something else is in its place: it says nothing.
        more = False
    return EventPage([_parse(line) for line in chosen.lines.values()], since, end, more)


class _Chosen:
    """The lines that are wanted, found by how a writer begins them: parsing is what costs."""

    def __init__(self, without: Collection[str], latest: Collection[str], only: Collection[str] | None) -> None:
        self.lines: dict[int, bytes] = {}
        self.size = 0
        self._only = None if only is None else tuple(_beginning(type) for type in only)
        self._without = tuple(_beginning(type) for type in without)
        self._latest = tuple(_beginning(type) for type in latest)
        self._places: dict[bytes, int] = {}

    def add(self, line: bytes, place: int) -> None:
        if line.startswith(self._without) or (self._only is not None and not line.startswith(self._only)):
            return
        if line.startswith(self._latest):
            beginning = next(beginning for beginning in self._latest if line.startswith(beginning))
            if beginning in self._places:
                self.size -= len(self.lines.pop(self._places[beginning])) + BYTES_OF_AN_EVENT
            self._places[beginning] = place
        self.lines[place] = line
        self.size += len(line) + BYTES_OF_AN_EVENT


def _beginning(type: str) -> bytes:
    return f'{{"type":"{type}",'.encode()


def _parse(line: bytes) -> Event:
    """One line as an event. A line that is none becomes a warning: the lines after it still count."""
    try:
        event = read_json(line)
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


def that_count(path: Path, types: Collection[str], until: int | None = None) -> Iterator[list[Event]]:
    """A part at a time, the events of these types that are not void: told of steps that a training went back behind, when it
    was taken up again. Of "progress" only some are left, the last among them.

    A log may be long. Whoever has other things to do can do them between two parts, of which some are empty.
    """
    voids: list[tuple[float, float]] = []
    for page in _pages(path, {"resumed"}, until):
        voids += islice((void for event in page if (void := _void_after(event))), MOST_RETURNS - len(voids))
        yield []
    # What was told before several returns is void behind the earliest step of these.
    lowest = list(accumulate(reversed(voids), _lower, initial=(math.inf, math.inf)))
    for page in _pages(path, {*types, "resumed"}, until):
        counting = []
        for event in page:
            if len(lowest) > 1 and _void_after(event):
                lowest.pop()
            if kept := _what_counts(event, *lowest[-1]):
                counting.append(kept)
        yield counting


def _pages(path: Path, only: Collection[str], until: int | None) -> Iterator[list[Event]]:
    since, more = 0, True
    while more and since != until:
        page = read_events(path, since, PART_BYTES, latest=("progress",), until=until, only=only)
        since, more = page.next, page.more
        yield page.events


def _void_after(event: Event) -> tuple[float, float] | None:
    """Behind which step validations and snapshots are void, and behind which points, where the event says so of those
    before it."""
    # A strange one, which pasted code may have written, is for its reader to complain of.
    step, told = event.get("step"), event.get("told")
    if event["type"] == "resumed" and isinstance(step, (int, float)) and isinstance(told, (int, float)):
        return step, told
    return None


def _lower(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), min(one[1], other[1])


def _what_counts(event: Event, step: float, told: float) -> Event | None:
    """What of the event counts, when a training has gone back behind these steps since."""
    with suppress(KeyError, TypeError, IndexError):
        if event["type"] == "train":
            return _points_up_to(event, told)
        if event["type"] in ("validation", "snapshot") and event["step"] > step:
            return None
    return event


def _points_up_to(event: Event, told: float) -> Event | None:
    if event["step"][-1] <= told:
        return event
    count = bisect_right(event["step"], told)
    columns = {name: column[:count] for name, column in event.items() if isinstance(column, list)}
    return {**event, **columns} if count else None
