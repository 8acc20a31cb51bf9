"""The curve of a training, read from its events as they come, and thinned to what a chart can show.

Nothing that a person could see is lost by thinning: of each bucket the lowest, the highest and the last point stay.
"""

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import ge, gt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.events import Event, in_words, read_events

log = logging.getLogger(__name__)

Numbers = NDArray[np.float64]
PAGE_BYTES = 4_000_000
# What is kept of all curves together: that of 200,000 points takes some 10 MB.
MOST_BYTES = 32_000_000
TRAIN_COLUMNS = ("step", "epoch", "loss", "learning_rate")
VALIDATION_COLUMNS = ("step", "epoch", "loss")
# Not a number has no place among the events, but a word.
WORDS = {"nan": math.nan, "infinity": math.inf, "-infinity": -math.inf}
ROWS_OF_A_BUNCH = 4096
OUTLIERS_BELOW, OUTLIERS_ABOVE = 1, 99


class Columns:
    """Columns of numbers that grow at their end."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.size = 0
        self._arrays = {name: np.empty(256) for name in names}

    @property
    def bytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())

    def __getitem__(self, name: str) -> Numbers:
        return self._arrays[name][: self.size]

    def extend(self, columns: dict[str, list[float]]) -> None:
        """ValueError where the columns are not of one length."""
        lengths = {name: len(columns[name]) for name in self.names}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The columns are not of one length: {lengths}.")
        size = self.size + lengths[self.names[0]]
        for name in self.names:
            array = self._arrays[name]
            if size > len(array):
                self._arrays[name] = array = np.concatenate([array[: self.size], np.empty(max(size, self.size))])
            array[self.size : size] = columns[name]
        self.size = size

    def cut(self, step: float) -> None:
        """Drop the rows of later steps. Who still reads what was there before keeps it: nothing is written over."""
        self.size = int(np.searchsorted(self["step"], step, side="right"))
        self._arrays = {name: array.copy() for name, array in self._arrays.items()}


@dataclass
class Average:
    """The exponential moving average of a curve, as far as it was taken; `window` is in steps.

    The value is `weighted / weight`: so it does not lean to zero at its start.
    """

    window: float
    weighted: float = 0.0
    weight: float = 0.0
    step: float = 0.0
    values: Columns = field(default_factory=lambda: Columns(("loss",)))

    def follow(self, train: Columns) -> Numbers:
        """The averages at all points. What is no finite number counts for nothing."""
        steps, losses = train["step"][self.values.size :], train["loss"][self.values.size :]
        kept = (1 - 1 / self.window) ** np.diff(steps, prepend=self.step)
        new = []
        for keep, loss in zip(kept.tolist(), losses.tolist(), strict=True):
            if math.isfinite(loss):
                self.weighted = keep * self.weighted + (1 - keep) * loss
                self.weight = keep * self.weight + (1 - keep)
            new.append(self.weighted / self.weight if self.weight else math.nan)
        if new:
            self.step = float(steps[-1])
            self.values.extend({"loss": new})
        return self.values["loss"]


class Curve:
    """One training's points, up to byte `offset` of its events. Who uses it holds its lock."""

    def __init__(self, events: Path) -> None:
        self.offset = 0
        self.planned_steps = 0
        self.train = Columns(TRAIN_COLUMNS)
        self.validation = Columns(VALIDATION_COLUMNS)
        self.lock = threading.Lock()
        self._events = events
        self._average: Average | None = None
        self._has_complained = False

    @property
    def bytes(self) -> int:
        columns = [self.train, self.validation]
        return sum(part.bytes for part in ([*columns, self._average.values] if self._average else columns))

    def read_on(self) -> None:
        """Take in what was written since."""
        more = True
        while more:
            page = read_events(self._events, self.offset, PAGE_BYTES, without=("progress", "usage", "frame"))
            for event in page.events:
                self._apply_or_complain(event)
            self.offset, more = page.next, page.more

    def _apply_or_complain(self, event: Event) -> None:
        """One event that is damaged must not hide all others."""
        try:
            self._apply(event)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if not self._has_complained:
                self._has_complained = True
                log.warning(
                    "An event in %s is damaged and makes no point of the curve: %r. Others like it are passed over, too.",
                    self._events,
                    error,
                )

    def _apply(self, event: Event) -> None:
        if event["type"] == "train":
            _take_in(self.train, {name: numbers(event[name]) for name in TRAIN_COLUMNS})
        elif event["type"] == "validation":
            _take_in(self.validation, {name: numbers([event[name]]) for name in VALIDATION_COLUMNS})
        elif event["type"] == "resumed":
            self._go_back(float(event["step"]), float(event["told"]))
        elif event["type"] == "network":
            self.planned_steps = int(event["steps_per_epoch"]) * int(event["epochs"])

    def _go_back(self, step: float, told: float) -> None:
        """The training was taken up again after this step. What was told of later ones is void."""
        self.train.cut(told)
        self.validation.cut(step)
        if self._average is not None and self._average.step > told:
            # It is taken again from the first point on.
            self._average = None

    def smoothed(self, share: float) -> Average | None:
        """The average over a share of the whole training; None where that is less than two steps.

        While little of a long training is done, the share is one of what is: of the next power of two of its steps, so
        that the average is not taken anew with each of them.
        """
        done = float(self.train["step"][-1]) if self.train.size else 1.0
        window = share * min(self.planned_steps, 2.0 ** math.ceil(math.log2(max(done, 1.0))))
        if window < 2:
            return None
        if self._average is None or self._average.window != window:
            self._average = Average(window)
        self._average.follow(self.train)
        return self._average

    def view(self, low: float, high: float, buckets: int, smoothing: float = 0.0) -> dict[str, Any]:
        """The points between two epochs, thinned, and what can be said of all of them."""
        average = self.smoothed(smoothing)
        train, validation = _between(self.train, low, high), _between(self.validation, low, high)
        kept = train.start + thinned(self.train, train, buckets, ("loss", "learning_rate"))
        kept_validations = validation.start + thinned(self.validation, validation, buckets, ("loss",))
        columns = {name: listed(self.train[name][kept]) for name in TRAIN_COLUMNS}
        if average:
            columns["smooth"] = listed(average.values["loss"][kept])
        return {
            "next": self.offset,
            "train": columns,
            "validation": {name: listed(self.validation[name][kept_validations]) for name in VALIDATION_COLUMNS},
            "average": {"window": average.window, "weighted": average.weighted, "weight": average.weight}
            if average
            else None,
            "points": self.train.size,
            "validation_points": self.validation.size,
            "whole": len(kept) == train.stop - train.start,
            "not_finite": _count(~np.isfinite(self.train["loss"])) + _count(~np.isfinite(self.validation["loss"])),
            "not_positive": _count(self.train["loss"] <= 0) + _count(self.validation["loss"] <= 0),
            "first": listed(self.train["loss"][:1]),
            "outliers": _outliers(self.train["loss"][train]),
        }

    def epochs(self, most: int) -> dict[str, list[Any]]:
        """One row for each of the last `most` epochs: of all its points the mean, the lowest and the highest loss."""
        # The last step of an epoch is the epoch, whatever its fraction was rounded to.
        epoch = np.maximum(1, np.ceil(self.train["epoch"] - 1e-6))
        validated = np.maximum(1, np.ceil(self.validation["epoch"] - 1e-6))
        shown = np.union1d(epoch, validated)[-most:]
        losses, rates = self.train["loss"], self.train["learning_rate"]
        rows: dict[str, list[Any]] = {
            name: [] for name in ("epoch", "mean", "lowest", "highest", "validation", "learning_rate")
        }
        for number in shown:
            points = slice(*np.searchsorted(epoch, [number, number + 1]))
            finite = losses[points][np.isfinite(losses[points])]
            last = np.searchsorted(validated, number, side="right") - 1
            has_validation = last >= 0 and validated[last] == number
            rows["epoch"].append(int(number))
            rows["mean"].append(float(finite.mean()) if len(finite) else None)
            rows["lowest"].append(float(finite.min()) if len(finite) else None)
            rows["highest"].append(float(finite.max()) if len(finite) else None)
            rows["validation"].append(listed(self.validation["loss"][last : last + 1])[0] if has_validation else None)
            rows["learning_rate"].append(listed(rates[points][-1:])[0] if points.stop > points.start else None)
        return rows

    def csv(self) -> Iterator[str]:
        """Every point that is there now, one row a step. Never written over, they can be read after the lock is free."""
        return _rows(
            {name: self.train[name] for name in TRAIN_COLUMNS},
            {name: self.validation[name] for name in VALIDATION_COLUMNS},
        )


class Curves:
    """The curves that were asked for last, by the file of their events, as many as there is room for."""

    def __init__(self) -> None:
        self._curves: OrderedDict[Path, Curve] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def read(self, events: Path) -> Iterator[Curve]:
        """The curve with all that its events say until now, locked."""
        with self._lock:
            curve = self._curves.setdefault(events, Curve(events))
            self._curves.move_to_end(events)
        with curve.lock:
            curve.read_on()
            yield curve
        with self._lock:
            self._make_room()

    def forget(self, events: Path) -> None:
        with self._lock:
            self._curves.pop(events, None)

    def _make_room(self) -> None:
        """Drop those that were asked for longest ago. One that is too large alone stays."""
        taken = sum(curve.bytes for curve in self._curves.values())
        while taken > MOST_BYTES and len(self._curves) > 1:
            _, dropped = self._curves.popitem(last=False)
            taken -= dropped.bytes


def numbers(values: list[float | str]) -> list[float]:
    return [WORDS[value] if isinstance(value, str) else float(value) for value in values]


def listed(values: Numbers) -> list[float | str]:
    """As strict JSON can hold them."""
    plain: list[float | str] = values.tolist()
    for index in np.flatnonzero(~np.isfinite(values)).tolist():
        plain[index] = in_words(values[index])
    return plain


def _take_in(columns: Columns, more: dict[str, list[float]]) -> None:
    """Add points; ValueError where they do not come in order after those that are there."""
    steps, epochs = ([*columns[name][-1:].tolist(), *more[name]] for name in ("step", "epoch"))
    if not all(map(math.isfinite, [*steps, *epochs])):
        raise ValueError("A step or an epoch is no finite number.")
    if any(map(ge, steps, steps[1:])) or any(map(gt, epochs, epochs[1:])):
        raise ValueError("The steps and epochs do not go up.")
    columns.extend(more)


def _rows(train: dict[str, Numbers], validation: dict[str, Numbers]) -> Iterator[str]:
    """Bunches of the lines of a CSV file."""
    steps = np.union1d(train["step"], validation["step"])
    yield "step,epoch,training_loss,validation_loss,learning_rate\n"
    for start in range(0, len(steps), ROWS_OF_A_BUNCH):
        bunch = steps[start : start + ROWS_OF_A_BUNCH]
        epochs = _cells(bunch, train, "epoch")
        validated_at = _cells(bunch, validation, "epoch")
        columns = (
            map(str, bunch.astype(np.int64).tolist()),
            [epoch or validated for epoch, validated in zip(epochs, validated_at, strict=True)],
            _cells(bunch, train, "loss"),
            _cells(bunch, validation, "loss"),
            _cells(bunch, train, "learning_rate"),
        )
        yield "".join(f"{','.join(row)}\n" for row in zip(*columns, strict=True))


def _cells(steps: Numbers, columns: dict[str, Numbers], name: str) -> list[str]:
    """The values at these steps, as text; blank where there is none."""
    if not len(columns["step"]):
        return [""] * len(steps)
    places = np.minimum(np.searchsorted(columns["step"], steps), len(columns["step"]) - 1)
    there = columns["step"][places] == steps
    values = listed(columns[name][places])
    return [str(value) if present else "" for value, present in zip(values, there.tolist(), strict=True)]


def _between(columns: Columns, low: float, high: float) -> slice:
    return slice(*np.searchsorted(columns["epoch"], [low, np.nextafter(high, math.inf)]).tolist())


def thinned(columns: Columns, part: slice, buckets: int, names: tuple[str, ...]) -> NDArray[np.intp]:
    """Places within `part` of the points that stay: of each bucket of epochs the last, and by each name the lowest and
    the highest. All of them where there are no more than that."""
    epochs = columns["epoch"][part]
    if len(epochs) <= buckets * (1 + 2 * len(names)):
        return np.arange(len(epochs))
    width = (epochs[-1] - epochs[0]) / buckets or 1.0
    bucket = np.minimum(((epochs - epochs[0]) / width).astype(np.intp), buckets - 1)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    kept = [np.append(starts[1:], len(epochs)) - 1]
    for name in names:
        values = columns[name][part]
        values = np.where(np.isfinite(values), values, np.nan)
        kept += [_first_of_each(values, starts, extreme) for extreme in (np.fmin, np.fmax)]
    return np.unique(np.concatenate(kept))


def _first_of_each(values: Numbers, starts: NDArray[np.intp], extreme: np.ufunc) -> NDArray[np.intp]:
    """Where each of the parts that begin at `starts` has its lowest or highest number first."""
    lengths = np.diff(starts, append=len(values))
    found = np.flatnonzero(values == np.repeat(extreme.reduceat(values, starts), lengths))
    places = np.searchsorted(found, starts)
    # A part without any number finds one of a later part, which does no harm, or none.
    return found[places[places < len(found)]]


def _outliers(losses: Numbers) -> dict[str, Any] | None:
    """Between which losses most points lie, and how many lie outside."""
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, [OUTLIERS_BELOW, OUTLIERS_ABOVE])
    return {"low": float(low), "high": float(high), "outside": _count((finite < low) | (finite > high))}


def _count(which: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(which))
