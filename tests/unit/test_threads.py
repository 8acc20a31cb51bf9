"""Which number of threads a training on the CPU takes, on machines that are made up."""

from collections.abc import Callable
from random import Random

import pytest

from jobs.training.threads import LONGEST_REST_SECONDS, ThreadChoice, candidates, cores, quiet_threads


class Machine:
    """Steps take what `seconds(threads)` says, and all of them together `time`."""

    def __init__(self, numbers: list[int], seconds: Callable[[int], float]) -> None:
        self.seconds = seconds
        self.time = 0.0
        self.time_with: dict[int, float] = {}
        self.steps = 0
        self.longest = 0.0
        self.threads = 0
        self.choice = ThreadChoice(numbers, self._set)

    def _set(self, threads: int) -> None:
        self.threads = threads

    def run(self, seconds: float) -> None:
        end = self.time + seconds
        self.time_with = {}
        while self.time < end:
            took = self.seconds(self.threads)
            self.time += took
            self.steps += 1
            self.longest = max(self.longest, took)
            self.time_with[self.threads] = self.time_with.get(self.threads, 0.0) + took
            self.choice.note(took)

    def most_used(self) -> int:
        return max(self.time_with, key=lambda threads: self.time_with[threads])


def test_numbers_worth_a_try() -> None:
    assert candidates(1) == [1]
    assert candidates(2) == [2, 1]
    assert candidates(16) == [16, 15, 8, 4, 2, 1]


def test_a_quiet_machine_uses_all_cores_and_seldom_looks_again() -> None:
    machine = Machine([2, 1], lambda threads: 0.003 / threads)
    machine.run(600)
    assert machine.time_with[1] < 0.02 * machine.time
    assert machine.most_used() == 2


def test_a_small_network_takes_few_of_many_cores() -> None:
    machine = Machine(candidates(64), lambda threads: 0.001 * abs(threads - 4) + 0.001)
    machine.run(100)
    assert machine.most_used() == 4


def test_a_machine_that_gets_busy_is_met_with_fewer_threads_at_once_and_back_later() -> None:
    machine = Machine([2, 1], lambda threads: 0.003 / threads)
    machine.run(300)
    # Another process takes a core: two threads wait for each other.
    machine.seconds = lambda threads: 0.05 if threads == 2 else 0.003
    machine.run(3)
    assert machine.most_used() == 1
    machine.seconds = lambda threads: 0.003 / threads
    machine.run(2 * LONGEST_REST_SECONDS)
    assert machine.most_used() == 2


def test_a_core_that_is_taken_away_now_and_then_changes_nothing() -> None:
    """A number of threads is not judged by the moment in which it was tried."""
    random = Random(1)

    def seconds(threads: int) -> float:
        # Ten times a second the system needs a core, and all threads wait for the one that had it.
        stall = 0.02 if threads == 2 and random.random() < 0.016 else 0.0
        return 0.0022 / threads + 0.0005 + stall

    machine = Machine([2, 1], seconds)
    machine.run(2)
    machine.run(300)
    assert machine.time_with[2] > 0.9 * 300


def test_long_steps_are_tried_too() -> None:
    machine = Machine([2, 1], lambda threads: 4.0 / threads)
    machine.run(300)
    assert machine.most_used() == 2


@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0])
def test_trying_costs_little_where_steps_are_long_and_cores_many(seconds: float) -> None:
    """All cores share the work without loss: every other number is a waste."""
    steps = 300
    machine = Machine(candidates(64), lambda threads: seconds * 64 / threads)
    while machine.time < steps * seconds:
        machine.run(seconds)
    assert machine.steps > 0.93 * steps
    assert machine.longest <= 2.1 * seconds


def test_one_core_is_left_to_others_unless_somebody_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert quiet_threads() == max(1, cores() - 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert quiet_threads() == 3
