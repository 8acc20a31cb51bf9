"""What a training says while it runs: points of the loss curve, progress and use of the machine, a few times a second."""

import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import groupby
from operator import add

import torch
from torch import Tensor

from jobs.errors import TrainingDiverged
from jobs.events import EventWriter, in_words
from jobs.time_left import TimeLeft
from jobs.training.checkpoints import Point, Position
from jobs.training.usage import UsageMeter

SECONDS_BETWEEN_BLOCKS = 0.25
SECONDS_BETWEEN_USAGE = 5.0
SECONDS_OF_RATE = 10.0
# A training of up to so many steps has a point for each; a longer one about so many points.
MOST_POINTS = 200_000
BLOCK = 8192


def steps_in_group(position: Position) -> int:
    """How many steps share a lowest, a highest and a last point. Never more than an epoch has."""
    if position.total_steps <= MOST_POINTS:
        return 1
    return min(math.ceil(3 * position.total_steps / MOST_POINTS), position.steps_per_epoch)


@dataclass
class Points:
    """Losses of single steps as points of the curve: all of them, or of each group the lowest, the highest and the last.

    The first step is a group of its own, so that a curve begins at once.
    """

    group: int
    steps_per_epoch: int
    step: int = 0
    # Points of a group that is not full yet.
    untold: list[Point] = field(default_factory=list)

    def add(
        self, losses: list[float], learning_rates: list[float], is_last: bool = False
    ) -> dict[str, list[float | str]]:
        """The points that these steps complete, as columns; `is_last` completes the steps that are left over, too."""
        steps = range(self.step + 1, self.step + 1 + len(losses))
        self.step += len(losses)
        points = list(zip(steps, losses, learning_rates, strict=True))
        if self.group > 1:
            points = self._thinned(points, is_last)
        if not points:
            return {}
        return {
            "step": [step for step, _, _ in points],
            "epoch": [self.epoch_of(step) for step, _, _ in points],
            "loss": [_short(loss) for _, loss, _ in points],
            "learning_rate": [in_words(rate) for _, _, rate in points],
        }

    def epoch_of(self, step: int) -> float:
        return round(step / self.steps_per_epoch, 6)

    def _thinned(self, points: list[Point], is_last: bool) -> list[Point]:
        groups = [list(group) for _, group in groupby([*self.untold, *points], self._group_of)]
        is_open = bool(groups) and not is_last and (groups[-1][-1][0] - 1) % self.group != 0
        self.untold = groups.pop() if is_open else []
        return [point for group in groups for point in _extremes(group)]

    def _group_of(self, point: Point) -> int:
        return (point[0] - 2) // self.group


def _extremes(group: list[Point]) -> Iterator[Point]:
    """The lowest, the highest and the last point, and what is no finite number, in the order of the steps."""
    finite = [point for point in group if math.isfinite(point[1])]
    kept = {group[-1], *(point for point in group if not math.isfinite(point[1]))}
    if finite:
        kept |= {min(finite, key=_loss_of), max(finite, key=_loss_of)}
    yield from sorted(kept, key=_step_of)


def _step_of(point: Point) -> int:
    return point[0]


def _loss_of(point: Point) -> float:
    return point[1]


def _short(loss: float) -> float | str:
    """The shortest number that is the same 32-bit float: half the digits."""
    return float(f"{loss:.9g}") if math.isfinite(loss) else in_words(loss)


class TrainingReport:
    """Keeps the losses on the device and reads them in blocks, so that no step waits for the device.

    `end_of_epoch` says what an epoch ends with: epochs that end with the same make pauses that are alike. A training
    that goes on does so from `position`, after `images_done`, with the points that it had `untold` and the `losses` of
    its epoch: their sum, and how many they are.
    """

    def __init__(
        self,
        events: EventWriter,
        position: Position,
        images: int,
        device: torch.device,
        end_of_epoch: Callable[[int], Hashable] = lambda epoch: None,
        clock: Callable[[], float] = time.monotonic,
        images_done: int = 0,
        untold: Sequence[Point] = (),
        losses: tuple[float, int] = (0.0, 0),
    ) -> None:
        self._events = events
        self._clock = clock
        self._images_per_epoch = images
        self._end_of_epoch = end_of_epoch
        epochs = position.total_steps // position.steps_per_epoch
        self._images_total = images * epochs
        self._images_done = images_done
        self._points = Points(steps_in_group(position), position.steps_per_epoch, position.step, list(untold))
        self.losses = losses
        self._losses = torch.zeros(BLOCK, device=device)
        self._learning_rates: list[float] = []
        self._images_of_steps: list[int] = []
        self._usage = UsageMeter(device)
        self._next_block = self._next_usage = self._clock()
        ends = map(end_of_epoch, range(position.step // position.steps_per_epoch + 1, epochs + 1))
        self._time_left = TimeLeft(self._images_total, self._clock(), ends, self._images_done)
        self._epoch_ended: float | None = None

    def step(self, loss: Tensor, learning_rate: float, images: int) -> None:
        """Note one step; now and then also say what has gathered. TrainingDiverged when a loss was not finite."""
        self._losses[len(self._learning_rates)].copy_(loss)
        self._learning_rates.append(learning_rate)
        self._images_of_steps.append(images)
        if self._epoch_ended is not None:
            self._note_pause(self._clock() - self._epoch_ended, images)
        self._images_done += images
        if self._images_done % self._images_per_epoch == 0:
            self.flush(is_last=self._images_done == self._images_total)
            # Now that the device has done all its steps, and not before.
            self._epoch_ended = self._clock()
        elif self._clock() >= self._next_block or len(self._learning_rates) == BLOCK:
            self.flush()

    def begin_epoch(self) -> None:
        self.losses = (0.0, 0)

    def untold(self) -> list[Point]:
        """Points of a group that is not full yet. All steps must have been flushed."""
        return list(self._points.untold)

    def finish(self) -> None:
        """Say all that there is, at the last step."""
        self.flush(is_last=True)

    def give_up(self) -> None:
        """Say the steps before one that failed, as far as that is still possible: why it failed is what counts."""
        try:
            self.finish()
        except (TrainingDiverged, RuntimeError, MemoryError, OSError) as error:
            print(f"Before the step that failed: {error}")

    def flush(self, is_last: bool = False) -> None:
        """Say everything up to this step, but for the steps of a group that is not full yet."""
        # CPU–GPU sync point, the only one of the loop.
        losses: list[float] = self._losses[: len(self._learning_rates)].tolist()
        exploded = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), None)
        if exploded is not None:
            # The steps after it only carry it on: the training ended there.
            losses = losses[: exploded + 1]
            self._images_done -= sum(self._images_of_steps[exploded + 1 :])
        # One after the other: a sum in blocks would depend on where these end.
        self.losses = reduce(add, losses, self.losses[0]), self.losses[1] + len(losses)
        self._write_points(losses, is_last or exploded is not None)
        now = self._clock()
        self._next_block = now + SECONDS_BETWEEN_BLOCKS
        self._write_progress(now)
        if now >= self._next_usage:
            self._next_usage = now + SECONDS_BETWEEN_USAGE
            self._events.write("usage", **self._usage.read())
        if exploded is not None:
            raise TrainingDiverged(
                f"Network reported {in_words(losses[-1])} for training loss. Try decreasing your learning rate.",
                self._points.step,
            )

    def _note_pause(self, seconds: float, images: int) -> None:
        """Between two epochs there was what an epoch ends with, validation and snapshot, and then a step."""
        rate = self._time_left.rate(SECONDS_OF_RATE)
        seconds_of_step = images / rate if rate else 0.0
        kind = self._end_of_epoch(self._images_done // self._images_per_epoch)
        self._time_left.pause(max(0.0, seconds - seconds_of_step), kind)
        self._epoch_ended = None

    def _write_points(self, losses: list[float], is_last: bool) -> None:
        columns = self._points.add(losses, self._learning_rates[: len(losses)], is_last)
        self._learning_rates, self._images_of_steps = [], []
        if columns:
            self._events.write("train", **columns)

    def _write_progress(self, now: float) -> None:
        self._time_left.mark(now if self._epoch_ended is None else self._epoch_ended, self._images_done)
        left = self._time_left.interval()
        self._events.write(
            "progress",
            fraction=self._images_done / self._images_total,
            done=self._images_done,
            total=self._images_total,
            unit="images",
            phase="Training",
            rate=round(self._time_left.rate(SECONDS_OF_RATE), 1),
            seconds_left=[round(end, 1) for end in left] if left else None,
            epoch=self._points.epoch_of(self._points.step),
        )
