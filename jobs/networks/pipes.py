"""The pipes between the server and a process that runs a user's network, kept out of that network's reach."""

import json
import os
from collections.abc import Iterator
from typing import Any, TextIO


class PrivatePipes:
    """Requests and answers on the process's first stdin and stdout. An answer carries the `id` of its request.

    From now on what anybody prints goes to stderr, and who reads stdin finds it empty, so that a network's own prints
    can not mix with the answers.
    """

    def __init__(self) -> None:
        self._requests: TextIO = os.fdopen(os.dup(0), encoding="utf-8")
        # The kernel closes it when the process has ended: closed before that, it says that a network did so.
        self._answers: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8", closefd=False)
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self._asked: int | None = None

    def requests(self) -> Iterator[dict[str, Any]]:
        """One request a line, until the server closes the pipe."""
        for line in self._requests:
            request = json.loads(line)
            self._asked = request.pop("id", None)
            yield request

    def answer(self, value: dict[str, Any]) -> None:
        self._answers.write(json.dumps({"id": self._asked, **value}, allow_nan=False, separators=(",", ":")) + "\n")
        self._answers.flush()
