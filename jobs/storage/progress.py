"""How far a dataset job is, as `progress` events: few enough for a browser."""

import time
from collections.abc import Callable

from jobs.events import EventWriter
from jobs.time_left import TimeLeft

SECONDS_BETWEEN = 0.25


class Progress:
    """Counts images through the phases of a job. `total` is that of the whole job, so that its bar never goes back."""

    def __init__(self, events: EventWriter, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._total = max(1, total)
        self._now = now
        self._done = 0
        self._last = now()
        self._time_left = TimeLeft(self._total, self._last)
        self.begin("", 0)

    def begin(self, phase: str, total: int) -> None:
        """Start a phase of `total` images."""
        self._phase, self._phase_total, self._phase_done = phase, total, 0
        self._phase_start = self._now()

    def advance(self, count: int) -> None:
        """Say that `count` more images are done; written when the last event is old enough or the phase is at its end."""
        self._done += count
        self._phase_done += count
        now = self._now()
        if now - self._last < SECONDS_BETWEEN and self._phase_done < self._phase_total:
            return
        self._last = now
        self._time_left.mark(now, self._done)
        left = self._time_left.interval()
        self._events.write(
            "progress",
            fraction=min(1.0, round(self._done / self._total, 4)),
            done=self._phase_done,
            total=self._phase_total,
            unit="images",
            phase=self._phase,
            rate=round(self._phase_done / max(now - self._phase_start, 1e-3), 1),
            seconds_left=[round(end, 1) for end in left] if left else None,
        )
