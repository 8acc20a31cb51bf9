"""The server's ends of the pipes to a child that answers questions: what it says takes no more than was set aside for it."""

import os
import select
import time
from dataclasses import dataclass

from jobs.errors import EnvironmentFault

MIB = 2**20
CHUNK_BYTES = 2**16
# A list or an object of JSON takes in memory what so many numbers take.
NUMBERS_IN_A_CONTAINER = 8


@dataclass(frozen=True)
class AnswerLimits:
    """How long one answer may be, in bytes, and of how many values. `advice` is for who meets a limit without meaning harm."""

    length: int
    values: int
    advice: str

    def check_values(self, line: bytes) -> None:
        """EnvironmentFault for an answer that would become many times as large when it is parsed."""
        values = line.count(b",") + NUMBERS_IN_A_CONTAINER * (line.count(b"[") + line.count(b"{"))
        if values > self.values:
            raise EnvironmentFault(
                f"The answer of the process is of more than {self.values:,} values, the most that are read of one, so the "
                f"process was ended. {self.advice}"
            )


class NoAnswerInTime(Exception):
    """Whoever was asked has taken longer than it may."""


class AnswerPipes:
    """Takes one line for each that was sent. The child's ends are `its_stdin` and `its_stdout`.

    Nothing is read but the answer to a question that was asked: what a child says besides stays in the pipe, 64 KiB at most.
    """

    def __init__(self) -> None:
        self.its_stdin, self._requests = os.pipe()
        try:
            self._answers, self.its_stdout = os.pipe()
        except OSError:
            os.close(self.its_stdin)
            os.close(self._requests)
            raise
        os.set_blocking(self._requests, False)
        os.set_blocking(self._answers, False)

    def close_its_ends(self) -> None:
        os.close(self.its_stdin)
        os.close(self.its_stdout)

    def close(self) -> None:
        """Close ours."""
        os.close(self._requests)
        os.close(self._answers)

    def ask(self, request: bytes, deadline: float, limits: AnswerLimits) -> bytes:
        """The line that answers this one; empty where the child has ended or closed its output.

        NoAnswerInTime when `time.monotonic()` comes to the deadline first; EnvironmentFault for what is no answer to that.
        """
        if _is_ready(self._answers, select.POLLIN):
            self._check_silence()
            return b""
        try:
            self._send(request, deadline)
        except BrokenPipeError:
            return b""
        return self._receive(deadline, limits)

    def _check_silence(self) -> None:
        if os.read(self._answers, 1):
            raise EnvironmentFault(
                "The process said something before it was asked, so it was ended. Does the network write where it has "
                "opened nothing?"
            )

    def _send(self, request: bytes, deadline: float) -> None:
        left = memoryview(request)
        while left:
            _wait_for(self._requests, select.POLLOUT, deadline)
            left = left[os.write(self._requests, left[:CHUNK_BYTES]) :]

    def _receive(self, deadline: float, limits: AnswerLimits) -> bytes:
        parts: list[bytes] = []
        length = 0
        while True:
            _wait_for(self._answers, select.POLLIN, deadline)
            part = os.read(self._answers, CHUNK_BYTES)
            if not part:
                return b""
            parts.append(part)
            length += len(part)
            if length > limits.length:
                raise EnvironmentFault(
                    f"The answer of the process is longer than {limits.length / MIB:,.4g} MiB, the most that is read of one, "
                    f"so the process was ended. {limits.advice}"
                )
            if (end := part.find(b"\n")) != -1:
                if end != len(part) - 1:
                    raise EnvironmentFault(
                        "The process said more than it was asked, so it was ended. Does the network write where it has "
                        "opened nothing?"
                    )
                return b"".join(parts)


def _wait_for(descriptor: int, event: int, deadline: float) -> None:
    left = deadline - time.monotonic()
    # Who says a little all the time is late, too.
    if left <= 0 or not _is_ready(descriptor, event, left):
        raise NoAnswerInTime


def _is_ready(descriptor: int, event: int, seconds: float = 0.0) -> bool:
    """Whether something can be read or written, or never again. Not `select`, which knows no descriptors past 1,023."""
    waiting = select.poll()
    waiting.register(descriptor, event)
    return bool(waiting.poll(seconds * 1000))
