"""Keeps a few predictor processes warm, one a model, and tries networks in processes of their own."""

import logging
import secrets
import threading
from functools import partial
from pathlib import Path
from typing import Any

from jobs.children import Launcher
from jobs.errors import BadNetwork, ChildEnded, LayerscopeError, UserError
from jobs.folder import JobFolder
from jobs.processes import LineProcess, raise_error_of
from jobs.warm import WarmProcess, WarmProcesses

log = logging.getLogger(__name__)

WARM_PREDICTORS = 3
ANSWER_SECONDS = 120.0
CHECK_SECONDS = 20.0
# A network in Python is made and run a dozen times until it is known to be that of the Lua.
PYTHON_SECONDS = 60.0
# The check ends by itself when its time is up, and knows what to say then. This is for one that cannot.
CHECK_GRACE_SECONDS = 15.0
LOG_TAIL_BYTES = 4000


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
            answer = _ask(warm.process, {**request, "image": str(copy)}, ANSWER_SECONDS)
        raise_error_of(answer)
        prediction: dict[str, Any] = answer["prediction"]
        return prediction

    def _start(self, model: JobFolder, dataset: JobFolder) -> WarmProcess:
        folders = (model.path, dataset.path)
        return WarmProcess(
            self._launcher, "jobs.predictor", list(map(str, folders)), folders, model.path / "predictor.log"
        )


class NetworkChecks:
    """Tries pasted networks. Each check has a process of its own, and can be ended by the name that it was given."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._lock = threading.Lock()
        self._running: dict[str, LineProcess] = {}

    def check(self, request: dict[str, Any], scratch: Path, name: str = "") -> dict[str, Any]:
        """Build the network of the request and try it with one small batch.

        Returns its layers; raises BadNetwork with the line that is to blame.
        """
        # A file, because the network may print without end, and neither the server's log nor a pipe is the place for that.
        with (scratch / "check.log").open("w+b") as said:
            weights = [Path(request["pretrained_model"])] if request.get("pretrained_model") else []
            process = LineProcess(self._launcher, "jobs.network_check", [], scratch, said, weights)
            # Without a name of its own it is nobody's to end.
            name = name or secrets.token_hex()
            with self._lock:
                self._running[name] = process
            try:
                seconds = PYTHON_SECONDS if request.get("wish") == "python" else CHECK_SECONDS
                answer = _ask(process, {**request, "seconds": seconds}, seconds + CHECK_GRACE_SECONDS)
            except LayerscopeError as error:
                if not self._forget(name, process):
                    raise UserError("The check was ended before the network was tried, as somebody asked.") from error
                said.seek(max(0, said.seek(0, 2) - LOG_TAIL_BYTES))
                log.warning("A network check failed; it said last: %s", said.read().decode(errors="replace"))
                raise
            finally:
                self._forget(name, process)
                process.end()
        raise_error_of(answer)
        return answer

    def end(self, name: str) -> bool:
        """End the check of this name; whether there was one."""
        with self._lock:
            process = self._running.pop(name, None)
        if process is not None:
            process.kill()
        return process is not None

    def _forget(self, name: str, process: LineProcess) -> bool:
        """Whether the check was still known: nobody has ended it."""
        with self._lock:
            is_known = self._running.get(name) is process
            if is_known:
                del self._running[name]
        return is_known


def _ask(process: LineProcess, request: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The answer of a child that runs a user's network; BadNetwork when that made an end of its process."""
    try:
        return process.ask(request, seconds)
    except ChildEnded as error:
        if error.returncode < 0:
            raise
        raise BadNetwork(
            f"The process that ran the network ended by itself with status {error.returncode}. Does the network call "
            "os._exit, or raise what is no Exception? It must return from its functions instead."
        ) from error
