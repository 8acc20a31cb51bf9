"""What a training says while it runs: points of the loss curve, progress and use of the machine, a few times a second."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jobs.errors import TrainingDiverged
from jobs.events import EventWriter, in_words
from jobs.training.checkpoints import Position
from jobs.training.usage import UsageMeter

SECONDS_BETWEEN_BLOCKS = 0.4
SECONDS_BETWEEN_USAGE = 5.0
SECONDS_OF_RATE = 10.0
# A curve of more points than this is drawn no better.
MOST_POINTS = 20_000
BLOCK = 8192


@dataclass
class Points:
    """Losses of single steps, gathered into the points of the curve: means of `stride` steps; the first step is one."""

    stride: int
    steps_per_epoch: int
    step: int = 0
    _total: float = 0.0
    _count: int = 0
    columns: dict[str, list[float | str]] = field(default_factory=dict)

    def add(self, loss: float, learning_rate: float) -> None:
        self.step += 1
        self._total += loss
        self._count += 1
        if self.step == 1 or self._count == self.stride:
            self._finish_point(learning_rate)

    def finish(self, learning_rate: float) -> None:
        """Make a last point of the steps that are left over."""
        if self._count:
            self._finish_point(learning_rate)

    def _finish_point(self, learning_rate: float) -> None:
        point = {
            "step": self.step,
            "epoch": round(self.step / self.steps_per_epoch, 6),
            "loss": in_words(self._total / self._count),
            "learning_rate": in_words(learning_rate),
        }
        for name, value in point.items():
            self.columns.setdefault(name, []).append(value)
        self._total, self._count = 0.0, 0

    def take(self) -> dict[str, list[float | str]]:
        """The points that are new since the last call, as columns."""
        columns, self.columns = self.columns, {}
        return columns


class TrainingReport:
    """Keeps the losses on the device and reads them in blocks, so that no step waits for the device."""

    def __init__(
        self,
        events: EventWriter,
        position: Position,
        images: int,
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = events
        self._clock = clock
        self._images_per_epoch = images
        self._images_total = images * (position.total_steps // position.steps_per_epoch)
        # A long training has fewer points an epoch, and never fewer than one.
        stride = max(1, min(position.total_steps // MOST_POINTS, position.steps_per_epoch))
        self._points = Points(stride, position.steps_per_epoch)
        self._losses = torch.zeros(BLOCK, device=device)
        self._learning_rates: list[float] = []
        self._last_rate = math.nan
        self._images_done = 0
        self._usage = UsageMeter(device)
        self._next_block = self._next_usage = self._clock()
        # (time, images done) of the last seconds, for the rate.
        self._recent: deque[tuple[float, int]] = deque([(self._clock(), 0)])

    def step(self, loss: Tensor, learning_rate: float, images: int) -> None:
        """Note one step; now and then also say what has gathered. TrainingDiverged when a loss was not finite."""
        self._losses[len(self._learning_rates)].copy_(loss)
        self._learning_rates.append(learning_rate)
        self._images_done += images
        if self._clock() >= self._next_block or len(self._learning_rates) == BLOCK:
            self.flush()

    def finish(self) -> None:
        """Say all that there is, at the last step."""
        self.flush(is_last=True)

    def flush(self, is_last: bool = False) -> None:
        """Say everything up to this step, but for the steps of a point that is not full yet."""
        self._write_points(is_last)
        now = self._clock()
        self._next_block = now + SECONDS_BETWEEN_BLOCKS
        self._write_progress(now)
        if now >= self._next_usage:
            self._next_usage = now + SECONDS_BETWEEN_USAGE
            self._events.write("usage", **self._usage.read())

    def _write_points(self, is_last: bool) -> None:
        # CPU–GPU sync point, the only one of the loop.
        losses: list[float] = self._losses[: len(self._learning_rates)].tolist()
        bad = next((loss for loss in losses if not math.isfinite(loss)), None)
        for loss, rate in zip(losses, self._learning_rates, strict=True):
            self._points.add(loss, rate)
            self._last_rate = rate
        self._learning_rates = []
        if is_last:
            self._points.finish(self._last_rate)
        columns = self._points.take()
        if columns:
            self._events.write("train", **columns)
        if bad is not None:
            raise TrainingDiverged(
                f"Network reported {in_words(bad)} for training loss. Try decreasing your learning rate."
            )

    def _write_progress(self, now: float) -> None:
        self._recent.append((now, self._images_done))
        while self._recent[0][0] < now - SECONDS_OF_RATE and len(self._recent) > 2:
            self._recent.popleft()
        since, done_then = self._recent[0]
        rate = (self._images_done - done_then) / (now - since) if now > since else 0.0
        left = self._images_total - self._images_done
        self._events.write(
            "progress",
            fraction=self._images_done / self._images_total,
            done=self._images_done,
            total=self._images_total,
            unit="images",
            phase="Training",
            rate=round(rate, 1),
            seconds_left=round(left / rate, 1) if rate else None,
            epoch=round(self._images_done / self._images_per_epoch, 4),
        )
