"""Real processes that compute, sleep or are stopped, and what is said of them when they say nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.signs_of_life import SECONDS_BETWEEN_LOOKS, SECONDS_OF_SILENCE, SignsOfLife
from jobs.worker_identity import WorkerIdentity, process_facts, ticks_of_session
from tests.conftest import until

Start = Callable[[str], WorkerIdentity]
LOOP = "import os; os.write(1, b'.')\nwhile True: pass"
SLEEP = "import os, time; os.write(1, b'.'); time.sleep(600)"
# What a dataset job is: its own process waits, others compute.
POOL = "import os; os.write(1, b'.')\nif os.fork():\n    os.wait()\nwhile True: pass"


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(text: str) -> WorkerIdentity:
        process = subprocess.Popen([sys.executable, "-S", "-c", text], stdout=subprocess.PIPE, start_new_session=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.read(1) == b"."
        worker = WorkerIdentity.of(process.pid)
        assert worker is not None
        return worker

    yield begin
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signs(clock: Clock) -> SignsOfLife:
    return SignsOfLife(clock)


def asleep(worker: WorkerIdentity) -> WorkerIdentity:
    """The worker once it sleeps: it has said its word, and may still be on its way there."""
    until(lambda: process_facts(worker.pid).state == "S")  # type: ignore[union-attr]
    return worker


def after_silence(
    signs: SignsOfLife, clock: Clock, worker: WorkerIdentity, folder: Path, *, computes: bool = True
) -> str:
    """What is said within ten seconds after the last sign; when the worker computes, it has done some of that."""
    signs.heard("job")
    clock.now += SECONDS_OF_SILENCE
    assert signs.words("job", worker, folder) is not None
    before = ticks_of_session(worker.pid)
    until(lambda: not computes or ticks_of_session(worker.pid) >= before + 5)
    clock.now += SECONDS_BETWEEN_LOOKS
    return signs.words("job", worker, folder) or ""


def test_who_says_nothing_and_computes_is_not_called_stalled(
    signs: SignsOfLife, clock: Clock, start: Start, tmp_path: Path
) -> None:
    worker = start(LOOP)
    assert after_silence(signs, clock, worker, tmp_path) == (
        "No sign of its worker for 10 s, but it computes: one long step, or a loop without end."
    )
    clock.now += 120
    assert "for 2 min" in (signs.words("job", worker, tmp_path) or "")


def test_a_worker_whose_children_compute_is_not_called_stalled(
    signs: SignsOfLife, clock: Clock, start: Start, tmp_path: Path
) -> None:
    worker = start(POOL)
    until(lambda: ticks_of_session(worker.pid) > 10)
    assert "but it computes" in after_silence(signs, clock, worker, tmp_path)


def test_who_says_nothing_and_does_nothing_is_stalled(
    signs: SignsOfLife, clock: Clock, start: Start, tmp_path: Path
) -> None:
    worker = asleep(start(SLEEP))
    words = after_silence(signs, clock, worker, tmp_path, computes=False)
    assert words == "Stalled: no sign of its worker for 10 s, and it takes no processor time."
    signs.heard("job")
    assert signs.words("job", worker, tmp_path) is None, "it has given a sign"


def test_a_stopped_worker_is_known_at_once(signs: SignsOfLife, clock: Clock, start: Start, tmp_path: Path) -> None:
    worker = start(LOOP)
    assert signs.words("job", worker, tmp_path) is None
    os.kill(worker.pid, signal.SIGSTOP)
    until(lambda: process_facts(worker.pid).state == "T")  # type: ignore[union-attr]
    clock.now += SECONDS_BETWEEN_LOOKS
    assert "stopped from outside (SIGSTOP)" in (signs.words("job", worker, tmp_path) or "")
    os.kill(worker.pid, signal.SIGCONT)
    until(lambda: process_facts(worker.pid).state != "T")  # type: ignore[union-attr]
    clock.now += SECONDS_BETWEEN_LOOKS
    assert signs.words("job", worker, tmp_path) is None


def test_a_number_that_was_given_again_is_another_process(start: Start) -> None:
    worker = start(SLEEP)
    assert WorkerIdentity.parse(str(worker)) == worker
    for other in (replace(worker, start=worker.start - 1), replace(worker, boot="an earlier one")):
        assert other.facts() is None
        other.signal_group(signal.SIGKILL)
    assert worker.facts() is not None, "no signal reached the one that has the number now"
    worker.signal_group(signal.SIGKILL)
    until(lambda: worker.facts() is None)
    assert process_facts(worker.pid) is not None, "nobody has asked yet how it ended"


def test_a_worker_whose_folder_somebody_has_removed_is_told_of(
    start: Start, signs: SignsOfLife, clock: Clock, tmp_path: Path
) -> None:
    """And can be stopped: who looks for its signs of life meets no fault."""
    assert "Its folder is gone" in after_silence(signs, clock, asleep(start(SLEEP)), tmp_path / "gone", computes=False)
