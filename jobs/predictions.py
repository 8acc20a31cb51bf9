"""Keeps a few predictor processes warm, one a model, and tries networks in processes of their own."""

import logging
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.children import Launcher
from jobs.errors import BadImage, BadNetwork, ChildEnded, LayerscopeError, UserError
from jobs.folder import JobFolder
from jobs.processes import LineProcess

log = logging.getLogger(__name__)

WARM_PREDICTORS = 3
ANSWER_SECONDS = 120.0
CHECK_SECONDS = 20.0
# A network in Python is made and run a dozen times until it is known to be that of the Lua.
PYTHON_SECONDS = 60.0
# The check ends by itself when its time is up, and knows what to say then. This is for one that cannot.
CHECK_GRACE_SECONDS = 15.0
LOG_TAIL_BYTES = 4000


class WarmPredictor:
    """A predictor process, the turn to speak to it, and its scratch folder, all that it may write.

    It runs the model's network, which is to see no other picture of the server's than those that it is asked about.
    """

    def __init__(self, launcher: Launcher, model: JobFolder, dataset: JobFolder) -> None:
        self.turn = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="layerscope-predictor-")
        scratch, self._pictures = Path(self._folder.name) / "scratch", Path(self._folder.name) / "pictures"
        try:
            scratch.mkdir()
            self._pictures.mkdir()
            with (model.path / "predictor.log").open("ab") as log:
                arguments = [str(model.path), str(dataset.path)]
                reads = [model.path, dataset.path, self._pictures]
                self.process = LineProcess(launcher, "jobs.predictor", arguments, scratch, log, reads)
        except BaseException:
            self._folder.cleanup()
            raise

    @contextmanager
    def copy_of(self, image: Path) -> Iterator[Path]:
        """The picture where the process may read it."""
        copy = self._pictures / "picture"
        try:
            try:
                shutil.copyfile(image, copy)
            except OSError as error:
                raise BadImage(f"The file cannot be read: {error.strerror or error}.") from error
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def end(self) -> None:
        self.process.end()
        self._folder.cleanup()


class Predictions:
    """Answers "Test One". The least recently used predictor makes room for a new one."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._lock = threading.Lock()
        self._warm: OrderedDict[str, WarmPredictor] = OrderedDict()

    def predict(self, model: JobFolder, dataset: JobFolder, *, epoch: int, image: Path, show_visualizations: bool,
                colormap: str) -> dict[str, Any]:  # fmt: skip
        """What the model of snapshot `epoch` makes of the picture. Raises the error that the predictor met."""
        request = {"epoch": epoch, "show_visualizations": show_visualizations, "colormap": colormap}
        answer = None
        while answer is None:
            answer = self._ask_in_turn(self._predictor(model, dataset), model.id, request, image)
        raise_error_of(answer)
        prediction: dict[str, Any] = answer["prediction"]
        return prediction

    def _ask_in_turn(
        self, warm: WarmPredictor, model_id: str, request: dict[str, Any], image: Path
    ) -> dict[str, Any] | None:
        """The predictor's answer; None when it had ended, to make room for another, before it was our turn."""
        with warm.turn:
            if not warm.process.alive:
                return None
            with warm.copy_of(image) as copy:
                try:
                    return _ask(warm.process, {**request, "image": str(copy)}, ANSWER_SECONDS)
                except LayerscopeError:
                    self._discard(model_id, warm)
                    raise

    def _predictor(self, model: JobFolder, dataset: JobFolder) -> WarmPredictor:
        with self._lock:
            warm = self._warm.get(model.id)
            if warm is not None and not warm.process.alive:
                warm.end()
                warm = None
            if warm is None:
                warm = self._warm[model.id] = WarmPredictor(self._launcher, model, dataset)
            self._warm.move_to_end(model.id)
            surplus = [self._warm.popitem(last=False)[1] for _ in range(len(self._warm) - WARM_PREDICTORS)]
        for old in surplus:
            with old.turn:
                old.end()
        return warm

    def forget(self, model_id: str) -> None:
        """End the predictor of a model, if there is one."""
        with self._lock:
            warm = self._warm.get(model_id)
        if warm is not None:
            self._discard(model_id, warm)

    def _discard(self, model_id: str, warm: WarmPredictor) -> None:
        """End this predictor, and leave alone another that may have taken its place."""
        with self._lock:
            if self._warm.get(model_id) is warm:
                del self._warm[model_id]
        warm.end()

    def close(self) -> None:
        for model_id in list(self._warm):
            self.forget(model_id)


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


def raise_error_of(answer: dict[str, Any]) -> None:
    """Raise the error that a child met, if its answer is one."""
    error = answer.get("error")
    if error is None:
        return
    if error["type"] == BadNetwork.__name__:
        raise BadNetwork(error["message"], error.get("line"), error.get("layer"))
    raise _kinds_of(LayerscopeError).get(error["type"], LayerscopeError)(error["message"])


def _kinds_of(kind: type[LayerscopeError]) -> dict[str, type[LayerscopeError]]:
    """An error class and all below it, by name."""
    found = {kind.__name__: kind}
    for below in kind.__subclasses__():
        found |= _kinds_of(below)
    return found
