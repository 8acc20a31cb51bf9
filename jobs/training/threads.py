"""How many of the machine's cores a training on the CPU uses: what makes its steps fastest now.

All cores are fastest on a quiet machine. When anything else runs, torch's threads wait busily for the one that lost its
core, and a step may take ten times as long; and a small network is faster with a few of many cores. So it is tried out.
"""

import os
import time
from collections.abc import Callable

import torch
from torch import Tensor

from jobs.training.step import Step

TRIAL_SECONDS = 0.1
# A step that takes longer than this is a trial of its own.
LONG_STEP_SECONDS = 2.0
FIRST_REST_SECONDS = 4.0
LONGEST_REST_SECONDS = 60.0
WINDOW_SECONDS = 0.5
# Slower than this share of what was measured, and the machine has changed: try again at once.
SLOWED_DOWN = 0.75
# Fewer threads than a number that is slower than this share of the best are not tried.
HOPELESS = 0.7


def cores() -> int:
    return len(os.sched_getaffinity(0))


def quiet_threads() -> int:
    """Threads for what must not disturb: one core is left to the server and the browser. OMP_NUM_THREADS overrides it."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else max(1, cores() - 1)


def candidates(most: int) -> list[int]:
    """Numbers of threads that are worth a try, the largest first."""
    halves = [most >> shift for shift in range(most.bit_length())]
    return sorted({*halves, max(1, most - 1)}, reverse=True)


class ThreadChoice:
    """Tries numbers of threads on real steps, keeps the fastest for a while, and looks again. Time is that of steps only."""

    def __init__(self, numbers: list[int], set_threads: Callable[[int], None] = torch.set_num_threads) -> None:
        self._numbers = numbers
        self._set_threads = set_threads
        self._rest = FIRST_REST_SECONDS
        self._rested = 0.0
        self._settled: int | None = None
        self._rates: dict[int, float] = {}
        self._to_try: list[int] = []
        self._is_first, self._steps, self._seconds = True, 0, 0.0
        self.threads = numbers[0]
        self._try(numbers)

    def note(self, seconds: float) -> None:
        """A step took so long."""
        if self._is_first and seconds < LONG_STEP_SECONDS:
            # The threads themselves are made in the first step after a change.
            self._is_first = False
            return
        self._steps += 1
        self._seconds += seconds
        if self._to_try:
            if self._seconds >= TRIAL_SECONDS:
                self._finish_trial()
        elif self._seconds >= WINDOW_SECONDS:
            self._look_at_window()

    def _finish_trial(self) -> None:
        rate = self._steps / self._seconds
        self._rates[self._to_try.pop(0)] = rate
        if rate < HOPELESS * max(self._rates.values()):
            self._to_try.clear()
        self._next_trial()

    def _look_at_window(self) -> None:
        self._rested += self._seconds
        has_slowed_down = self._steps / self._seconds < SLOWED_DOWN * self._rates[self.threads]
        self._steps, self._seconds = 0, 0.0
        if has_slowed_down:
            self._settled = None
            self._try(self._numbers)
        elif self._rested >= self._rest:
            place = self._numbers.index(self.threads)
            self._try(self._numbers[max(0, place - 1) : place + 2])

    def _try(self, numbers: list[int]) -> None:
        self._to_try = list(numbers)
        self._rates = {}
        self._next_trial()

    def _next_trial(self) -> None:
        if self._to_try:
            self._use(self._to_try[0])
            return
        best = max(self._rates, key=lambda number: self._rates[number])
        # What is found again and again need not be looked at often.
        is_same = best == self._settled
        self._rest = min(2 * self._rest, LONGEST_REST_SECONDS) if is_same else FIRST_REST_SECONDS
        self._settled, self._rested = best, 0.0
        self._use(best)

    def _use(self, number: int) -> None:
        self.threads = number
        self._set_threads(number)
        self._is_first, self._steps, self._seconds = True, 0, 0.0


class TimedStep:
    """A step whose time tells how many threads are best."""

    def __init__(self, step: Step, choice: ThreadChoice, clock: Callable[[], float] = time.perf_counter) -> None:
        self._step = step
        self._choice = choice
        self._clock = clock

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        start = self._clock()
        loss = self._step(images, labels)
        self._choice.note(self._clock() - start)
        return loss
