"""All cores on one list: a child that is killed in the middle of a long answer ends the work, and never hangs it."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import closing

import pytest

from jobs.errors import ProcessKilled, StopRequested
from jobs.storage.cores import on_all_cores

# Longer than a pipe holds, so that a child is most often in the middle of writing it.
LONG_ANSWER = 8 << 20


def long_answer(number: int) -> bytes:
    return bytes(LONG_ANSWER)


def answers() -> Iterator[bytes]:
    with closing(on_all_cores(long_answer, range(1000))) as given:
        yield from given


def test_a_caller_that_stops_is_not_kept_by_half_an_answer() -> None:
    for seen in range(1, 7):

        def stop_after(seen: int = seen) -> None:
            for number, _ in enumerate(answers(), 1):
                if number == seen:
                    raise StopRequested

        with pytest.raises(StopRequested):
            stop_after()
        assert multiprocessing.active_children() == []


def test_a_killed_child_is_told_with_its_signal() -> None:
    for _ in range(4):
        with pytest.raises(ProcessKilled, match="SIGKILL"):
            for number, _answer in enumerate(answers(), 1):
                if number == 3:
                    pid = multiprocessing.active_children()[0].pid
                    assert pid, "0 would be this process and all of its group"
                    os.kill(pid, signal.SIGKILL)
        assert multiprocessing.active_children() == []
