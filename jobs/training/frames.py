"""Live layers: while a network trains, one pinned image goes through it again and again, and each pass becomes a frame."""

import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch

from jobs.errors import LayerscopeError, StopRequested, TrainingDiverged, UserError, disk_fault
from jobs.folder import JobFolder
from jobs.networks.contract import Network, is_memory_fault
from jobs.training.capture import Camera, Capture, draw_capture
from jobs.training.checkpoints import Position
from jobs.training.data import ImageData, Preparation
from jobs.training.frame_files import FrameFiles
from jobs.training.pinned import PinnedImage, PinnedImages, PinWatch
from jobs.training.plan import Plan
from jobs.training.probes import Probes
from jobs.training.step import Precision
from jobs.worker import WorkerJob

SECONDS_BETWEEN_FRAMES = 10.0
SECONDS_BETWEEN_LOOKS_FOR_WORK = 0.2
# What frames may take of the training's own time, and again of a core beside it: three percent where there is one core only.
SHARE = 0.015
# Before the share counts, so that a training of seconds has its frames, too.
SECONDS_TO_BEGIN_WITH = 0.2
# Solvers whose step is the learning rate times the gradient.
PLAIN_SOLVERS = ("SGD", "NESTEROV")


@dataclass
class Budget:
    """Seconds that may be spent: a share of those that have passed."""

    spent: float = 0.0

    def allows(self, seconds_passed: float) -> bool:
        return self.spent <= SECONDS_TO_BEGIN_WITH + SHARE * seconds_passed


@dataclass(frozen=True)
class Cost:
    """Seconds that a frame took of a GPU, and of the processor in the thread that drew it."""

    device: float
    drawing: float


class Frames:
    """Takes frames while it is entered: before the very first step, after each epoch, every 10 seconds, soon after another
    image is pinned, and at the end.

    The training's thread only copies what a frame is made of; one other thread draws and writes it. A frame is left out
    while the one before is being drawn, or when frames would take more than their share of the time. The first and the
    last one never are. Nothing that goes wrong with a frame reaches the training, and its results do not depend on them.
    """

    def __init__(
        self,
        job: WorkerJob,
        plan: Plan,
        network: Network,
        prepare: Preparation,
        precision: Precision,
        train_data: ImageData,
        dataset_folder: JobFolder,
        dataset: dict[str, Any],
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._plan = plan
        self._parameters = sum(parameter.numel() for parameter in network.model.parameters())
        self._clock = clock
        self._images = PinnedImages(job.folder, dataset_folder, dataset)
        spec = plan.spec
        at_once = max(spec.batch_size or network.train_batch_size, spec.batch_size or network.validation_batch_size)
        self._new_camera: Callable[[], Camera] = lambda: Camera(
            network, prepare, Probes(train_data, prepare, at_once), precision, device
        )
        self._camera: Camera | None = None
        self._position: Position | None = None
        self._taken: tuple[int, PinnedImage] | None = None
        # With live layers off nothing is ever due.
        self._next_look = 0.0 if spec.live_layers else float("inf")
        self._next_frame = 0.0
        self._training_time, self._drawing_time = Budget(), Budget()
        self._executor = ThreadPoolExecutor(1, "frames")
        self._drawing: Future[Cost] | None = None
        self._said: set[str] = set()

    def __enter__(self) -> "Frames":
        self._started = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, TrainingDiverged) and self._position is not None:
            # The steps that were done before the loss was read only carried it on.
            self._position = replace(self._position, step=max(error.step, self._taken[0] if self._taken else 0))
        # Of a network that failed there is nothing more to see.
        if self._camera is not None and isinstance(error, StopRequested | TrainingDiverged | None):
            self._take()
        # Whoever reads that the training has ended finds all its frames.
        self._executor.shutdown(wait=True)

    def between_steps(self, position: Position) -> None:
        """Take a frame if one is due after so many steps. Hardly any work if none is."""
        self._position = position
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + SECONDS_BETWEEN_LOOKS_FOR_WORK
        if self._camera is None:
            self._begin()
            return
        self._look_for_pin(now)
        if now >= self._next_frame:
            self._take_if_affordable(now)

    def end_of_epoch(self, position: Position) -> None:
        """Take a frame of the epoch's last step."""
        self._position = position
        if self._camera is not None:
            self._take_if_affordable(self._clock())

    def _begin(self) -> None:
        """Get ready, and take the frame of the untrained network.

        A training that goes on has none: before its next step there are no gradients to show.
        """
        # If this fails, there are no frames.
        self._next_look, next_look = float("inf"), self._next_look
        with self._harmless():
            seen = self._images.version()
            self._pinned = self._first_pinned()
            self._watch = PinWatch(self._images, self._executor, seen)
            assert self._position is not None
            # Of a training that goes on, the frame of the snapshot's step stands; one that begins anew draws other weights.
            is_new = self._position.step == 0
            self._files = FrameFiles(self._job.folder, self._job.events, after=-1 if is_new else self._position.step)
            self._camera = self._new_camera()
            self._next_look = next_look
            if is_new:
                self._take()
            else:
                self._taken = self._position.step, self._pinned

    def _first_pinned(self) -> PinnedImage:
        try:
            pinned = self._images.read()
        except UserError as error:
            self._warn(str(error))
            pinned = None
        return pinned or self._images.default()

    def _look_for_pin(self, now: float) -> None:
        with self._harmless():
            try:
                pinned = self._watch.newly_pinned(now)
            except UserError as error:
                self._warn(f"{error} The image before it stays pinned.")
                return
            if pinned is not None:
                self._pinned = pinned
                self._next_frame = now

    def _take_if_affordable(self, now: float) -> None:
        self._account()
        passed = now - self._started
        if self._drawing is None and self._training_time.allows(passed) and self._drawing_time.allows(passed):
            self._take()

    def _take(self) -> None:
        """Take a frame of this step and image, if it is not the one that was taken last."""
        assert self._camera is not None
        assert self._position is not None
        now = self._clock()
        self._next_frame = now + SECONDS_BETWEEN_FRAMES
        taken = (self._position.step, self._pinned)
        if taken == self._taken:
            return
        self._taken = taken
        self._account(wait=True)
        # As in `_draw`: time in which others have the processor is none that frames take, and would keep the next ones away.
        start = time.thread_time()
        with self._harmless():
            capture = self._camera.take(self._pinned, self._position.step)
            self._drawing = self._executor.submit(self._draw, capture, self._position)
        self._training_time.spent += time.thread_time() - start

    def _account(self, wait: bool = False) -> None:
        """Note what the last frame cost, if it is drawn, or when it is."""
        if self._drawing is None or not (wait or self._drawing.done()):
            return
        cost = self._drawing.result()
        self._drawing = None
        self._training_time.spent += cost.device
        self._drawing_time.spent += cost.drawing

    def _draw(self, capture: Capture, position: Position) -> Cost:
        """The other thread's work."""
        # Of the processor: while others use it, this takes nothing from the training.
        start = time.thread_time()
        on_device = 0.0
        rate = self._plan.learning_rate(position.step, position.steps_per_epoch)
        with self._harmless():
            with capture.timer.after_last_mark():
                shown, warnings = draw_capture(
                    capture, self._parameters, rate if self._plan.spec.solver_type in PLAIN_SOLVERS else None
                )
            on_device = capture.timer.seconds()
            self._files.write(
                shown, step=position.step, epoch=position.epochs_done, image=capture.pinned.name, warnings=warnings
            )
        return Cost(on_device, time.thread_time() - start)

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Whatever goes wrong with frames is said, and the training goes on."""
        try:
            yield
        except (Exception, SystemExit) as error:  # noqa: BLE001  the user's code runs here, and may raise anything
            trace = "" if isinstance(error, LayerscopeError) else traceback.format_exc()
            self._warn(f"The layers cannot be shown. {_reason(error)}", trace)

    def _warn(self, text: str, trace: str = "") -> None:
        if text in self._said:
            return
        self._said.add(text)
        # When the disk is full there is no place to say so.
        with suppress(OSError):
            print(trace + text)
            self._job.events.write("message", level="warning", text=text)


def _reason(error: BaseException) -> str:
    if isinstance(error, LayerscopeError):
        return str(error)
    if fault := disk_fault(error):
        return fault.sentence
    if is_memory_fault(error):
        return "There is not enough memory for it."
    if isinstance(error, OSError):
        return f"A file could not be used: {error}."
    return f"This is a fault of Layerscope: {type(error).__name__}: {error}. The log has the details."
