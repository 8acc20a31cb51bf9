"""How often somebody may try a password: waits that grow, for a name and for an address, and nobody locked out for ever."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

FREE_ATTEMPTS = 5
LONGEST_WAIT = 60.0
# Failures are forgotten when none has followed for this long.
MEMORY_SECONDS = 15 * 60.0
MOST_REMEMBERED = 10_000


@dataclass
class Failures:
    count: int
    last: float

    def wait(self, now: float) -> float:
        """Seconds until the next attempt is looked at."""
        if self.count < FREE_ATTEMPTS:
            return 0.0
        # 1, 2, 4 … seconds.
        grown = min(2.0 ** min(self.count - FREE_ATTEMPTS, 10), LONGEST_WAIT)
        return max(0.0, self.last + grown - now)


class LoginAttempts:
    """Thread-safe. What was tried is in memory only: a server that starts anew has forgotten it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[Hashable, Failures] = OrderedDict()

    def begin(self, keys: Sequence[Hashable]) -> float:
        """Count one more attempt for each of the keys; 0, or the seconds to wait where there were too many, and then
        nothing is counted.

        An attempt is a failure until `succeeded` says otherwise: many at once must not all find the way free.
        """
        with self._lock:
            now = self._clock()
            self._forget(now)
            wait = max(self._failures[key].wait(now) if key in self._failures else 0.0 for key in keys)
            if not wait:
                for key in keys:
                    failures = self._failures.setdefault(key, Failures(0, now))
                    failures.count, failures.last = failures.count + 1, now
                    self._failures.move_to_end(key)
            return wait

    def succeeded(self, keys: Sequence[Hashable]) -> None:
        """The attempt was none of guessing: take it back. What else failed for the keys stays, since who has one account
        may be guessing at another."""
        with self._lock:
            for key in keys:
                if key in self._failures:
                    self._failures[key].count -= 1

    def _forget(self, now: float) -> None:
        """Drop the oldest: those whose time is over, and those that are too many."""
        while self._failures:
            key, failures = next(iter(self._failures.items()))
            if now - failures.last < MEMORY_SECONDS and len(self._failures) < MOST_REMEMBERED:
                return
            del self._failures[key]
