"""The process behind Visualize: `python -P -m jobs.network_check` tries one network and says what it is made of.

It reads one request, {"framework", "text", "image_shape", "label_shape", "label_range", "crop_size", "n_classes",
"pretrained_model", "seconds"}, as a line of JSON on stdin, and writes one answer: the report of the network with what
was taken of the pretrained weights, or {"error": {"message", "type", "line", "layer"}}. With {"wish": "python",
"solver_type"} beside it the answer is the Python of a network in Lua, {"python", "notes", "is_same"}.
"""

import math
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import nn

from jobs.building import build_and_check
from jobs.containment.limits import GIB, memory_limit
from jobs.errors import BadNetwork, LayerscopeError, name_for_server
from jobs.networks.contract import is_memory_fault
from jobs.networks.pipes import PrivatePipes
from jobs.torch7.weights import load_into
from jobs.training.threads import quiet_threads


class TookTooLong(BaseException):
    """The time is up. No Exception, because a network may catch those."""


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, or the error of the network, as JSON."""
    try:
        return _python(request) if request.get("wish") == "python" else _report(request)
    except LayerscopeError as error:
        print(traceback.format_exc(), file=sys.stderr)
        return _error(error)
    except (MemoryError, RuntimeError) as error:
        # Torch says "can't allocate memory" with a RuntimeError.
        print(traceback.format_exc(), file=sys.stderr)
        return _error(BadNetwork(f"The network could not be tried: {_memory_fault(error) or error}"))


def _memory_fault(error: MemoryError | RuntimeError) -> str:
    """A sentence where memory ran out."""
    if not is_memory_fault(error):
        return ""
    limit = memory_limit()
    allowed = "is left" if limit is None else f"it may have, {limit / GIB:.3g} GiB (--memory-limit)"
    return f"it wants more memory than {allowed}. Make it smaller."


def _python(request: dict[str, Any]) -> dict[str, Any]:
    # It needs the part of torch that writes down what functions do, which takes a second to import.
    from jobs.show_python import Question, show_python  # noqa: PLC0415

    question = Question(
        request["image_shape"],
        request.get("label_shape") or (),
        request.get("crop_size"),
        request.get("n_classes"),
        request.get("solver_type"),
    )
    return show_python(request["text"], question).as_json()


def _report(request: dict[str, Any]) -> dict[str, Any]:
    """What the network is made of."""
    weights: str = request.get("pretrained_model") or ""
    said_of_weights: list[str] = []

    def take_weights(model: nn.Module) -> None:
        said_of_weights.extend(load_into(model, Path(weights)))

    _network, report = build_and_check(
        request["text"],
        request["image_shape"],
        request.get("label_shape") or (),
        request.get("crop_size"),
        request.get("n_classes"),
        framework=request.get("framework", "pytorch"),
        load_weights=take_weights if weights else None,
        label_range=request.get("label_range"),
    )
    return report.as_json() | {"weights": said_of_weights}


def _error(error: LayerscopeError) -> dict[str, Any]:
    found: dict[str, Any] = {"message": str(error), "type": name_for_server(error), "line": None, "layer": None}
    if isinstance(error, BadNetwork):
        found |= {"line": error.line, "layer": error.layer}
    return {"error": found}


def answer_in_time(request: dict[str, Any]) -> dict[str, Any]:
    """The same, or what is said of a network that takes more than the seconds of the request."""
    try:
        try:
            _limit_time(request["seconds"])
            return answer_to(request)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    # Wherever it was raised: while the answer was made, or an error was put into words.
    except TookTooLong:
        return _error(
            BadNetwork(
                f"The network was not ready after {request['seconds']:g} seconds, the longest that a check may take. "
                "Does it loop for ever? If it is only slow, create the model: a training gives it more time."
            )
        )


def _limit_time(allowed: float) -> None:
    def time_is_up(signal_number: int, frame: FrameType | None) -> NoReturn:
        raise TookTooLong

    signal.signal(signal.SIGALRM, time_is_up)
    signal.setitimer(signal.ITIMER_REAL, allowed)
    # Code that never returns to Python hears no alarm; the kernel ends it. Threads add up, so that this comes later.
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(usage.ru_utime + usage.ru_stime + 4 * allowed)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


def main(arguments: Sequence[str] = ()) -> int:
    pipes = PrivatePipes()
    torch.set_num_threads(quiet_threads())
    for request in pipes.requests():
        pipes.answer(answer_in_time(request))
        break
    return 0


if __name__ == "__main__":
    sys.exit(main())
