"""All cores on one list of chunks: forked processes, answers in order, a bounded number under way."""

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for_futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from jobs.errors import EnvironmentFault

Chunk = TypeVar("Chunk")
Answer = TypeVar("Answer")

# Enough that no core waits for the parent, few enough that answers do not fill the memory.
CHUNKS_AHEAD = 3
SECONDS_TO_STOP = 0.5


class ChildKilled(EnvironmentFault):
    """A process died at a chunk without a word; `signals` are those that may have ended it."""

    def __init__(self, signals: set[int]) -> None:
        names = ", ".join(sorted(signal.Signals(number).name for number in signals)) or "no signal known"
        super().__init__(
            f"A process that read images for this job was ended from outside ({names}). "
            "Perhaps the machine ran out of memory: make room and clone the job."
        )
        self.signals = signals


def available_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def on_all_cores(
    work: Callable[[Chunk], Answer], chunks: Iterable[Chunk], check_stop: Callable[[], None] = lambda: None
) -> Generator[Answer, None, None]:
    """`work` of every chunk, in the order of the chunks. `check_stop` is called between them and may raise.

    Use it in a `with closing(…)`: an error of the caller's own then ends the processes at once.
    """
    cores = available_cores()
    context = multiprocessing.get_context("fork")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(cores, context, initializer=_start_child)
    children: list[multiprocessing.process.BaseProcess] = []
    under_way: deque[Future[Answer]] = deque()
    done = False
    try:
        for chunk in chunks:
            under_way.append(pool.submit(work, chunk))
            children = children or [child for child in multiprocessing.active_children() if child not in before]
            if len(under_way) >= CHUNKS_AHEAD * cores:
                yield _answer(under_way.popleft(), children, check_stop)
        while under_way:
            yield _answer(under_way.popleft(), children, check_stop)
        done = True
    except BrokenProcessPool as error:
        # A stop goes to the whole process group and so ends the children too.
        check_stop()
        raise ChildKilled(_signals_of(children)) from error
    finally:
        if not done:
            # Nobody wants the answers any more, and a chunk of large pictures may take long.
            for child in children:
                child.kill()
            _hang_up(pool)
        pool.shutdown(wait=True, cancel_futures=True)


def _answer(
    future: Future[Answer], children: list[multiprocessing.process.BaseProcess], check_stop: Callable[[], None]
) -> Answer:
    check_stop()
    while not wait_for_futures([future], timeout=SECONDS_TO_STOP).done:
        check_stop()
        # A child that was killed in the middle of a message leaves the pool waiting for the rest of it.
        if not all(child.is_alive() for child in children) and not future.done():
            raise BrokenProcessPool
    return future.result()


def _hang_up(pool: ProcessPoolExecutor) -> None:
    """Close this side of the pool's pipes, which has the other ends open, too.

    Its threads would wait for ever for the rest of a message that a killed child did not finish, or for somebody to read
    theirs, and the pool for its threads. It has no function for that.
    """
    pool._result_queue._writer.close()  # type: ignore[attr-defined]
    pool._call_queue._reader.close()  # type: ignore[attr-defined]


def _signals_of(children: list[multiprocessing.process.BaseProcess]) -> set[int]:
    """What ended the children. The pool ends those that live on with SIGTERM, so that one tells nothing."""
    if not _ended_by(children) - {signal.SIGTERM}:
        for child in children:
            child.join(timeout=5)
    signals = _ended_by(children)
    return signals - {signal.SIGTERM} or signals


def _ended_by(children: list[multiprocessing.process.BaseProcess]) -> set[int]:
    return {-child.exitcode for child in children if child.exitcode is not None and child.exitcode < 0}


def _start_child() -> None:
    # The worker's own handler, which a fork inherits, only takes a note: the pool could not end a child by it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A collection would write to every object of the parent, and so copy all of its memory.
    gc.freeze()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """Without this, children of a killed worker would wait for work for ever, and hold the job's lock meanwhile."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
