"""What is taken from a network between two steps of its training, and what another thread makes of it."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.errors import UserError
from jobs.layers import LayerRow, Weights, layer_rows, weight_rows
from jobs.networks.contract import Network
from jobs.networks.tracing import LayerCall
from jobs.pictures import Colormap, Pen, pixels_of_mosaics
from jobs.showing import Pass, pass_through, show
from jobs.training.data import Preparation, free_memory
from jobs.training.diagnosis import State, diagnose
from jobs.training.outside import ModulesState
from jobs.training.pinned import PinnedImage
from jobs.training.probes import Probes, UnitRanges, dead_units, is_constant
from jobs.training.step import Precision

COLORMAP: Colormap = "jet"
# The pictures of all layers of a frame together are half a megabyte at most, whatever the network is.
MOST_PIXELS = 400_000
MOST_OF_FREE_MEMORY = 0.25
WIDTHS = (320, 240, 160, 120, 80, 48, 32, 16)


class DeviceTimer:
    """Marks moments of a GPU's work. Without `beside`, a stream for another thread's work, no GPU is at work: nothing."""

    def __init__(self, beside: torch.cuda.Stream | None) -> None:
        self._beside = beside
        self._marks: list[torch.cuda.Event] = []
        self.mark()

    def mark(self) -> None:
        if self._beside is not None:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append(event)

    @contextmanager
    def after_last_mark(self) -> Iterator[None]:
        """Work of this thread runs beside the training's, when the GPU has come to the last mark."""
        if self._beside is None:
            yield
            return
        self._beside.wait_event(self._marks[-1])
        with torch.cuda.stream(self._beside):
            yield

    def seconds(self) -> float:
        """From the first mark to the last, when the GPU has done both."""
        return self._marks[0].elapsed_time(self._marks[-1]) / 1000 if self._marks else 0.0


@dataclass(frozen=True)
class Capture:
    """One moment of a network. All of it is copies: it can be drawn while the training goes on."""

    step: int
    pinned: PinnedImage
    passed: Pass
    weights: dict[nn.Module, list[Weights]]
    ranges: UnitRanges
    timer: DeviceTimer


class Camera:
    """Takes captures of one network, and leaves it as it was."""

    def __init__(
        self, network: Network, prepare: Preparation, probes: Probes, precision: Precision, device: torch.device
    ) -> None:
        _refuse_large_weights(network.model, device)
        self._network = network
        self._prepare = prepare
        self._probes = probes
        self._precision = precision
        self._device = device
        self._beside = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def take(self, pinned: PinnedImage, step: int) -> Capture:
        """The network's state after so many steps; BadNetwork when the image does not pass through it."""
        model = self._network.model
        timer = DeviceTimer(self._beside)
        kept = self._network.kept
        with kept.unchanged() if kept else nullcontext(), in_evaluation(model, self._device), self._precision():
            passed = pass_through(self._network, self._prepare(pinned.as_batch().to(self._device)))
            ranges = self._probes.measure(model, passed.calls)
        weights = {call.module: _copied(call.module, step) for call in passed.calls}
        timer.mark()
        return Capture(step, pinned, passed, weights, ranges, timer)


def _refuse_large_weights(model: nn.Module, device: torch.device) -> None:
    """A frame holds a copy of all weights: UserError where that takes too much of the memory that is free."""
    size, free = sum(parameter.nbytes for parameter in model.parameters()), free_memory(device)
    if size > MOST_OF_FREE_MEMORY * free:
        raise UserError(
            f"A copy of the weights would take {size / 2**30:.1f} GiB of the {free / 2**30:.1f} GiB of memory that are free. "
            "Test One shows the layers of each snapshot."
        )


def _copied(module: nn.Module, step: int) -> list[Weights]:
    return [
        Weights(path, parameter.detach().clone(), _gradient_norm(parameter) if step else None)
        for path, parameter in module.named_parameters()
    ]


def _gradient_norm(parameter: nn.Parameter) -> Tensor | None:
    """Of the last step's gradient; 0 when none has come so far, None for what is not to learn."""
    if not parameter.requires_grad:
        return None
    if parameter.grad is None:
        return torch.zeros(())
    gradient = parameter.grad.detach()
    norm: Tensor = torch.linalg.vector_norm(gradient.coalesce().values() if gradient.is_sparse else gradient)
    return norm


@contextmanager
def in_evaluation(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode; then modes, attributes, buffers and the state of every generator are put back.

    What a network in Python changes inside of objects of its own classes, or of very large structures, stays changed.
    """
    before = ModulesState(model)
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            model.eval()
            yield
        finally:
            try:
                before.put_back()
            finally:
                random.setstate(of_python)
                np.random.set_state(of_numpy)


def draw_capture(
    capture: Capture, parameters: int, learning_rate: float | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a frame shows, and warnings: what is wrong with the network. Both as JSON.

    `learning_rate` is None for solvers that do not go by it alone.
    """
    passed = capture.passed
    dead = dead_units(capture.ranges, passed.calls)
    pen = Pen(COLORMAP, _widest(capture), with_values=False)
    dead_of_weights = {index: layer.dead for layer in reversed(dead) for index in layer.fed_by}

    def rows_of(call: LayerCall, units: int | None) -> list[LayerRow]:
        return weight_rows(call, capture.weights[call.module], pen, units, dead_of_weights.get(call.index))

    rows = layer_rows(passed.calls, pen, rows_of, {layer.call: layer.dead for layer in dead})
    code = None if passed.code is None else passed.code.index
    state = State(capture.step, rows, dead, code, is_constant(capture.ranges.output), learning_rate)
    shown = show(capture.pinned.pixels, passed, rows, parameters, COLORMAP)
    return shown, [warning.as_json() for warning in diagnose(state)]


def _widest(capture: Capture) -> int:
    """How wide a layer's picture may be so that all of them stay small; 0 when there are too many for any."""
    shapes: list[tuple[int, ...]] = [
        tuple(output.shape[1:]) for call in capture.passed.calls for output in call.outputs
    ]
    shapes += [
        tuple(part.values.shape)
        for module, weights in capture.weights.items()
        for part in weights
        if part.values.dim() != 2 or not isinstance(module, nn.Linear)
    ]
    filled = [shape for shape in shapes if math.prod(shape)]
    return next((width for width in WIDTHS if pixels_of_mosaics(filled, width) <= MOST_PIXELS), 0)
