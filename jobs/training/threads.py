"""How many of the machine's cores a training on the CPU uses: what makes its steps fastest now.

All cores are fastest on a quiet machine. When anything else runs, torch's threads wait busily for the one that lost its
core, and a step may take ten times as long; and a small network is faster with a few of many cores. So it is tried out.
"""

import math
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor

from jobs.training.step import Step

# A look at some numbers is so many short trials of each, in turns. The best one counts: the system takes a core away now
# and then, and a number must not be judged by that.
TRIAL_SECONDS = 0.12
TRIALS = 3
# A step that takes longer than this is trial enough.
LONG_STEP_SECONDS = 2.0
# The first steps of a training say nothing about the others.
WARM_UP_SECONDS = 0.5
FIRST_REST_SECONDS = 4.0
LONGEST_REST_SECONDS = 60.0
WINDOW_SECONDS = 0.5
# Slower than this share of what was measured, and the machine has changed: look again at once.
SLOWED_DOWN = 0.7
# A number that is slower than this share of the best gets no second trial, and fewer threads than that none at all.
HOPELESS = 0.6


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
        self._rest, self._rested = WARM_UP_SECONDS, 0.0
        self._settled: int | None = None
        self._rates: dict[int, float] = {}
        self._to_try: list[int] = []
        self._is_first, self._steps, self._seconds = True, 0, 0.0
        self.threads = numbers[0]
        self._use(numbers[0])

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
        number, rate = self._to_try.pop(0), self._steps / self._seconds
        self._rates[number] = max(rate, self._rates.get(number, 0.0))
        if self._seconds >= LONG_STEP_SECONDS:
            self._to_try = [other for other in self._to_try if other != number]
        enough = HOPELESS * max(self._rates.values())
        fewest = number if self._rates[number] < enough else 0
        self._to_try = [
            other for other in self._to_try if other > fewest and self._rates.get(other, math.inf) >= enough
        ]
        self._next_trial()

    def _look_at_window(self) -> None:
        self._rested += self._seconds
        rate = self._steps / self._seconds
        self._steps, self._seconds = 0, 0.0
        if self._settled is None:
            if self._rested >= self._rest:
                self._look(self._numbers)
        elif rate < SLOWED_DOWN * self._rates[self._settled]:
            self._settled = None
            self._look(self._numbers)
        elif self._rested >= self._rest:
            place = self._numbers.index(self.threads)
            self._look(self._numbers[max(0, place - 1) : place + 2])

    def _look(self, numbers: list[int]) -> None:
        self._to_try = numbers * TRIALS
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
