"""All cores on one list of chunks: forked processes, answers in order, a bounded number under way."""

import gc
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn, TypeVar

from jobs.errors import LayerscopeError, ProcessKilled

Chunk = TypeVar("Chunk")
Answer = TypeVar("Answer")

# Enough that no core waits for the parent, few enough that answers do not fill the memory.
CHUNKS_AHEAD = 3
SECONDS_TO_STOP = 0.5


def available_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def on_all_cores(
    work: Callable[[Chunk], Answer], chunks: Iterable[Chunk], check_stop: Callable[[], None] = lambda: None
) -> Generator[Answer, None, None]:
    """`work` of every chunk, in the order of the chunks; what it raises is raised at its place in that order.

    `check_stop` is called while there is something to wait for, and may raise. ProcessKilled when a process died. Use it
    in a `with closing(…)`: an error of the caller's own then ends the processes at once.

    Each process has a pipe of its own. The standard library's pools share one among all, and wait for ever for the
    rest of a message that a killed process did not finish.
    """
    children = [_Child(work) for _ in range(available_cores())]
    try:
        yield from _in_order(children, chunks, check_stop)
    finally:
        for child in children:
            child.end()


def _in_order(
    children: list["_Child"], chunks: Iterable[Chunk], check_stop: Callable[[], None]
) -> Generator[Any, None, None]:
    numbered = enumerate(chunks)
    idle, busy = list(children), dict[Any, _Child]()
    answers: dict[int, tuple[Any, BaseException | None]] = {}
    given = taken = 0
    while True:
        while idle and given - taken < CHUNKS_AHEAD * len(children) and (task := next(numbered, None)) is not None:
            child = idle.pop()
            child.give(task, check_stop)
            busy[child.connection] = child
            given += 1
        if taken in answers:
            answer, error = answers.pop(taken)
            if error is not None:
                raise error
            taken += 1
            yield answer
        elif not busy:
            return
        else:
            check_stop()
            for connection in wait(list(busy), timeout=SECONDS_TO_STOP):
                child = busy.pop(connection)
                number, answer, error = child.take(check_stop)
                answers[number] = (answer, error)
                idle.append(child)


class _Child:
    """A forked process that answers one chunk after the other."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, its_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, its_end), daemon=True)
        self._process.start()
        # Now only the child holds it, so that its death is the end of the pipe.
        its_end.close()

    def give(self, task: tuple[int, Any], check_stop: Callable[[], None]) -> None:
        try:
            self.connection.send(task)
        except OSError as error:
            self._tell_death(error, check_stop)

    def take(self, check_stop: Callable[[], None]) -> tuple[int, Any, BaseException | None]:
        """The number of the chunk, and its answer or what it raised."""
        try:
            answer: tuple[int, Any, BaseException | None] = self.connection.recv()
        except (EOFError, OSError) as error:
            self._tell_death(error, check_stop)
        return answer

    def _tell_death(self, error: Exception, check_stop: Callable[[], None]) -> NoReturn:
        # A stop goes to the whole process group and so ends the children too.
        check_stop()
        self._process.join()
        status = self._process.exitcode or 0
        raise ProcessKilled({-status} if status < 0 else set()) from error

    def end(self) -> None:
        # Nobody wants its answer any more, and a chunk of large pictures may take long.
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(work: Callable[[Any], Any], connection: Connection) -> None:
    """The life of a child: answers until its parent ends it."""
    _start_child()
    while True:
        number, chunk = connection.recv()
        answer: Any = None
        error: Exception | None = None
        try:
            answer = work(chunk)
        except LayerscopeError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001  raised again by the parent, where its trace would be lost
            traceback.print_exc()
            error = raised
        connection.send((number, answer, error))


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
