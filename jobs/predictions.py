"""Keeps a few predictor processes warm, one a model, and tries networks in processes of their own."""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jobs.answers import MIB, AnswerLimits
from jobs.children import Launcher
from jobs.errors import BadNetwork, ChildEnded, EnvironmentFault, LayerscopeError, UserError
from jobs.folder import JobFolder
from jobs.processes import LineProcess, part_of, raise_error_of
from jobs.warm import WarmProcess, WarmProcesses

log = logging.getLogger(__name__)

WARM_PREDICTORS = 3
ANSWER_SECONDS = 120.0
CHECK_SECONDS = 20.0
# A network in Python is made and run a dozen times until it is known to be that of the Lua.
PYTHON_SECONDS = 60.0
# The check ends by itself when its time is up, and knows what to say then. This is for one that cannot, and for its start,
# which imports torch, on a machine that has much else to do.
CHECK_GRACE_SECONDS = 40.0
LOG_TAIL_BYTES = 4000
# A check takes a core or more, and hundreds of megabytes of memory.
MOST_CHECKS = 4
SECONDS_TO_WAIT_FOR_A_CHECK = 30.0
# Checks that somebody ended before their request was read: as many as can be under way to the server.
MOST_ENDED_EARLY = 100
LONGEST_NAME = 100

# With the pictures of all layers: 29 MB for VGG-16, 84 MB for DenseNet-201, 140 MB for ResNet-152, at 224 × 224. The values
# are those of the output above all, 3,150,000 for one of 1,024 × 1,024 pixels in colour, and 1,350,000 with 600 layers.
PREDICTION = AnswerLimits(
    192 * MIB, 4_000_000, "Test One shows less without Show visualizations, or with a network that gives less."
)
# 68 KB and 16,000 values for ResNet-152, 111 KB and 23,000 for DenseNet-201.
CHECK = AnswerLimits(8 * MIB, 1_000_000, "Create the model instead: a training can have as many layers as it likes.")
# 24 KB and 1,500 values for a thousand layers. What stands in a text counts as values, too.
PYTHON = AnswerLimits(8 * MIB, 1_000_000, "Make the text of the network shorter.")

ENDED = "The check was ended before the network was tried, as somebody asked."


class Predictions(WarmProcesses):
    """Answers "Test One", each model by a process of its own."""

    def __init__(self, launcher: Launcher) -> None:
        super().__init__(WARM_PREDICTORS)
        self._launcher = launcher

    def predict(self, model: JobFolder, dataset: JobFolder, *, epoch: int, image: Path, show_visualizations: bool,
                colormap: str) -> dict[str, Any]:  # fmt: skip
        """What the model of snapshot `epoch` makes of the picture. Raises the error that the predictor met."""
        request = {"epoch": epoch, "show_visualizations": show_visualizations, "colormap": colormap}
        with self.in_turn(model.id, partial(self._start, model, dataset)) as warm, warm.copy_of(image) as copy:
            answer = _ask(warm.process, {**request, "image": str(copy)}, ANSWER_SECONDS, PREDICTION)
        prediction: dict[str, Any] = part_of(answer, "prediction")
        return prediction

    def _start(self, model: JobFolder, dataset: JobFolder) -> WarmProcess:
        folders = (model.path, dataset.path)
        return WarmProcess(
            self._launcher, "jobs.predictor", list(map(str, folders)), folders, model.path / "predictor.log"
        )


@dataclass(eq=False)
class Check:
    """One that somebody asked for, which has no process until it is its turn."""

    process: LineProcess | None = None
    is_ended: bool = False


class NetworkChecks:
    """Tries pasted networks. Each check has a process of its own, and can be ended by the name that it was given,
    which is of one check only.

    So many at a time as the machine can bear: further ones wait for their turn, for `patience` seconds.
    """

    def __init__(
        self, launcher: Launcher, most: int = MOST_CHECKS, patience: float = SECONDS_TO_WAIT_FOR_A_CHECK
    ) -> None:
        self._launcher = launcher
        self._most, self._patience = most, patience
        self._changed = threading.Condition()
        self._known: dict[str, Check] = {}
        self._ended_early: deque[str] = deque(maxlen=MOST_ENDED_EARLY)
        self._at_work = 0

    def check(self, request: dict[str, Any], scratch: Path, name: str = "") -> dict[str, Any]:
        """Build the network of the request and try it with one small batch.

        Returns its layers; raises BadNetwork with the line that is to blame.
        """
        # Without a name of its own it is nobody's to end.
        name, check = name or secrets.token_hex(), Check()
        # A file, because the network may print without end, and neither the server's log nor a pipe is the place for that.
        with self._turn_of(name, check), (scratch / "check.log").open("w+b") as said:
            weights = [Path(request["pretrained_model"])] if request.get("pretrained_model") else []
            process = LineProcess(self._launcher, "jobs.network_check", [], scratch, said, weights)
            try:
                self._give(process, check)
                is_python = request.get("wish") == "python"
                seconds, limits = (PYTHON_SECONDS, PYTHON) if is_python else (CHECK_SECONDS, CHECK)
                answer = _ask(process, {**request, "seconds": seconds}, seconds + CHECK_GRACE_SECONDS, limits)
            except LayerscopeError as error:
                if check.is_ended:
                    raise UserError(ENDED) from error
                said.seek(max(0, said.seek(0, 2) - LOG_TAIL_BYTES))
                log.warning("A network check failed; it said last: %s", said.read().decode(errors="replace"))
                raise
            finally:
                process.end()
        raise_error_of(answer)
        return answer

    def end(self, name: str) -> bool:
        """End the check of this name; whether there was one. One that is asked for later is not begun: of two requests, the
        one to end it can be the first to be read."""
        with self._changed:
            check = self._known.get(name)
            if check is not None:
                check.is_ended = True
                self._changed.notify_all()
                if check.process is not None:
                    check.process.kill()
            elif 0 < len(name) <= LONGEST_NAME:
                self._ended_early.append(name)
        return check is not None

    def knows(self, name: str) -> bool:
        """Whether a check of this name is at work or waits for its turn."""
        with self._changed:
            return name in self._known

    @contextmanager
    def _turn_of(self, name: str, check: Check) -> Iterator[None]:
        """While it is this check's turn. UserError where somebody ends it before, EnvironmentFault where it is not its turn for
        too long."""
        with self._changed:
            if name in self._ended_early:
                self._ended_early.remove(name)
                raise UserError(ENDED)
            if self.knows(name):
                raise UserError(f"A check with the name {name!r} goes on already. Give each a name of its own.")
            self._known[name] = check
            try:
                self._wait_for_turn(check)
            except LayerscopeError:
                del self._known[name]
                raise
            self._at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= 1
                del self._known[name]
                self._changed.notify_all()

    def _wait_for_turn(self, check: Check) -> None:
        may_go_on = self._changed.wait_for(lambda: check.is_ended or self._at_work < self._most, self._patience)
        if check.is_ended:
            raise UserError(ENDED)
        if not may_go_on:
            raise EnvironmentFault(
                f"The server is trying {self._at_work} other networks, and none was ready within {self._patience:g} s. "
                "Try again in a minute."
            )

    def _give(self, process: LineProcess, check: Check) -> None:
        """Its process, which ends at once where somebody has ended the check meanwhile."""
        with self._changed:
            check.process = process
            if check.is_ended:
                process.kill()


def _ask(process: LineProcess, request: dict[str, Any], seconds: float, limits: AnswerLimits) -> dict[str, Any]:
    """The answer of a child that runs a user's network; BadNetwork when that made an end of its process."""
    try:
        return process.ask(request, seconds, limits)
    except ChildEnded as error:
        if error.returncode < 0:
            raise
        raise BadNetwork(
            f"The process that ran the network ended by itself with status {error.returncode}. Does the network call "
            "os._exit, or raise what is no Exception? It must return from its functions instead."
        ) from error
