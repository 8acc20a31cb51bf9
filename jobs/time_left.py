"""How long the rest of a work may take: an interval, wide while little is known."""

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Hashable, Iterable
from itertools import pairwise
from statistics import fmean, pstdev

MOST_MARKS = 1024
# The pace is looked at over this many seconds, or over half of the time so far where that is longer.
HORIZON = 20.0
WINDOWS = 8
# A change is taken to go on for so many times as far as it was seen to go.
MOST_REACH = 2.0
# Shares of the estimate, added at both ends: always; at the very start; after this many seconds half of the latter.
MARGIN = 0.02
MARGIN_AT_START = 0.3
SECONDS_TO_HALF = 4.0
# How long all pauses that are yet unknown may take, as a share of the rest.
UNSEEN_PAUSES = 0.25
# Of each kind the last pauses say how long the next ones take.
PAUSES_KEPT = 32


class TimeLeft:
    """Follows how much of `total` is done at which time, by a clock that stands still while the work does.

    `pauses` are the kinds of all pauses that the work will make, as for a validation: those of one kind last about as
    long as each other. `done` was done before, in a time of which nothing is known.
    """

    def __init__(self, total: int, now: float, pauses: Iterable[Hashable] = (), done: int = 0) -> None:
        self._total = total
        self._times = [now]
        self._done = [done]
        self._stood = 0.0
        self._pauses_to_come = Counter(pauses)
        self._pauses: dict[Hashable, deque[float]] = {}

    def pause(self, seconds: float, kind: Hashable) -> None:
        """A pause is over. What is marked from now on comes after it."""
        self._stood += seconds
        self._pauses_to_come[kind] -= 1
        self._pauses.setdefault(kind, deque(maxlen=PAUSES_KEPT)).append(seconds)

    def mark(self, now: float, done: int) -> None:
        now -= self._stood
        if now <= self._times[-1]:
            self._done[-1] = max(done, self._done[-1])
            return
        self._times.append(now)
        self._done.append(done)
        if len(self._times) > MOST_MARKS:
            # What is long past needs no fine marks.
            half = MOST_MARKS // 2
            self._times = self._times[:half:2] + self._times[half:]
            self._done = self._done[:half:2] + self._done[half:]

    def rate(self, seconds: float) -> float:
        """How much was done a second in the last seconds, pauses not counted."""
        now, done = self._times[-1], self._done[-1]
        since = max(self._times[0], now - seconds)
        return (done - self._done_at(since)) / (now - since) if now > since else 0.0

    def interval(self) -> tuple[float, float] | None:
        """Seconds, at least and at most. None while nothing is done.

        How far windows of equal work lie apart says how far the mean of what is to come may be from theirs.
        """
        elapsed = self._times[-1] - self._times[0]
        left = max(0, self._total - self._done[-1])
        costs, window = self._costs(min(elapsed, max(HORIZON, elapsed / 2)))
        if not costs:
            return None
        mean, recent = fmean(costs), fmean(costs[-WINDOWS // 4 :])
        # As it was, as it is, and as it will be where it goes on changing.
        reach = min(MOST_REACH, (left / 2 / window + WINDOWS / 8) / (WINDOWS * 3 / 8))
        means = (mean, recent, recent + reach * (recent - mean))
        spread = 1.5 * pstdev(costs) * math.sqrt(1 / WINDOWS + min(1.0, window / max(left, 1)))
        margin = MARGIN + MARGIN_AT_START / (1 + elapsed / SECONDS_TO_HALF)
        low = left * max(min(means) - spread, min(costs) / 2) * (1 - margin)
        high = left * min(max(means) + spread, max(costs) * 2) * (1 + margin)
        shortest, longest = self._pauses_left(high)
        return low + shortest, high + longest

    def _pauses_left(self, steps_left: float) -> tuple[float, float]:
        """Seconds that the pauses to come take, at least and at most."""
        low = high = 0.0
        to_come = +self._pauses_to_come
        for kind, count in to_come.items():
            if seen := self._pauses.get(kind):
                mean = fmean(seen)
                # Few say little: of one alone, half is open.
                spread = mean / (1 + len(seen)) + 1.5 * pstdev(seen) * math.sqrt(1 / len(seen) + 1 / count)
                low += count * max(mean - spread, min(seen) / 2)
                high += count * min(mean + spread, max(seen) * 2)
            else:
                # It may be all that the others are, and what was never seen.
                known = sum(fmean(seconds) for seconds in self._pauses.values())
                high += count * (known + steps_left * UNSEEN_PAUSES / to_come.total())
        return low, high

    def _costs(self, horizon: float) -> tuple[list[float], float]:
        """Seconds for one piece in each of the horizon's windows of equal work, oldest first, and the work of a window."""
        first, last = self._done_at(self._times[-1] - horizon), self._done[-1]
        window = (last - first) / WINDOWS
        if window <= 0:
            return [], 0.0
        times = [self._time_at(first + part * window) for part in range(WINDOWS)]
        return [(end - start) / window for start, end in pairwise([*times, self._times[-1]])], window

    def _done_at(self, moment: float) -> float:
        return _between(moment, self._times, self._done)

    def _time_at(self, done: float) -> float:
        return _between(done, self._done, self._times)


def _between(x: float, xs: list[float] | list[int], ys: list[float] | list[int]) -> float:
    """The line through the points (xs, ys), both rising, at x."""
    after = bisect_left(xs, x)
    if after == 0:
        return ys[0]
    x0, x1, y0, y1 = xs[after - 1], xs[after], ys[after - 1], ys[after]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
