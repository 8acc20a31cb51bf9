"""How often somebody may try a password: waits that grow, for a name and for an address, and nobody locked out for ever."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from webapp.accounts import NAME

FREE_ATTEMPTS = 5
LONGEST_WAIT = 60.0
# Failures are forgotten when none has followed for this long.
MEMORY_SECONDS = 15 * 60.0
MOST_REMEMBERED = 10_000
# Whoever has an address of IPv6 has all that begin with these bits, and could try each.
BITS_OF_ONE_PLACE = 64


def key_of_name(name: str) -> Hashable:
    """All names that no account can have are one: they may be megabytes long, and are never anybody's."""
    return "name", name if NAME.fullmatch(name) else ""


def key_of_address(address: str) -> Hashable:
    """All addresses of one place are one, and so is whatever a proxy may say that is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "address", ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return "address", str(parsed)
    if parsed.ipv4_mapped is not None:
        return "address", str(parsed.ipv4_mapped)
    return "address", int(parsed) >> 128 - BITS_OF_ONE_PLACE


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
            self._forget(now, MOST_REMEMBERED - len(keys))
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

    def _forget(self, now: float, most: int) -> None:
        """Drop the oldest: those whose time is over, and those that are more than so many."""
        while self._failures:
            key, failures = next(iter(self._failures.items()))
            if now - failures.last < MEMORY_SECONDS and len(self._failures) <= most:
                return
            del self._failures[key]
