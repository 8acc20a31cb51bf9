"""Folds a job's events into the few things that lists and status lines show."""

import math
from collections.abc import Iterable
from typing import Any

from jobs.events import WORDS_FOR_NUMBERS, Event, that_count
from jobs.folder import JobFolder

Summary = dict[str, Any]
SPARKLINE_POINTS = 60
MOST_CHARACTERS = 10_000
# More than anybody can choose from. What pasted code has told of beside them must not be looked through each time.
MOST_SNAPSHOTS = 10_000
# What the database can hold.
LARGEST_WHOLE = 2**63 - 1
OF_AN_END = ("outcome", "cause", "line", "seconds_left", "waits")


class SummaryTakenAnew:
    """The summary of all that a job has told of and that counts, up to byte `until` of its log: what a summary has taken in
    it cannot give back. `strange` is the first event that says what it cannot, if any does."""

    def __init__(self, folder: JobFolder, until: int) -> None:
        self.until = until
        self.summary: Summary = {}
        self.strange: Event | None = None
        self._parts = that_count(folder.events, APPLY.keys(), until)

    def read_on(self) -> bool:
        """Read a part more of the log, which may be long; whether there was one."""
        part = next(self._parts, None)
        if part is None:
            return False
        strange = take_in(self.summary, part)
        self.strange = self.strange or strange
        return True

    def read_all(self) -> Summary:
        while self.read_on():
            pass
        return self.summary


def take_in(summary: Summary, events: Iterable[Event]) -> Event | None:
    """Fold events in; the first that is strange, if any is. Pasted code may have written it, and it must not keep the job
    from ending."""
    strange = None
    for event in events:
        try:
            apply_event(summary, event)
        except (KeyError, TypeError, ValueError, OverflowError):
            strange = strange or event
    return strange


def apply_event(summary: Summary, event: Event) -> None:
    """Bring `summary` up to date with the next event of the same job."""
    apply = APPLY.get(event["type"])
    if apply is not None:
        apply(summary, event)


def begun_anew(summary: Summary) -> Summary:
    """The summary of a job that goes on, without what it says of its end."""
    return {key: value for key, value in summary.items() if key not in OF_AN_END}


def _begun_anew(summary: Summary, event: Event) -> None:
    summary.clear()


def _started(summary: Summary, event: Event) -> None:
    for key in OF_AN_END:
        summary.pop(key, None)


# Every list of jobs is made of summaries: what is in one must be what lists and the database expect of it.


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return value
    raise ValueError("There is no finite number where one belongs.")


def _loss(value: Any) -> float | str:
    return value if value in WORDS_FOR_NUMBERS else _number(value)


def _whole(value: Any) -> int:
    if isinstance(value, int) and abs(value) <= LARGEST_WHOLE:
        return value
    raise ValueError("There is no whole number where one belongs.")


def _text(value: Any) -> str:
    if isinstance(value, str):
        # Half a pair of surrogates is no UTF-8.
        return value[:MOST_CHARACTERS].encode(errors="replace").decode()
    raise ValueError("There is no text where one belongs.")


def _progress(summary: Summary, event: Event) -> None:
    left = event.get("seconds_left")
    if left is not None:
        at_least, at_most = left
        left = [_number(at_least), _number(at_most)]
    summary.update(progress=_number(event["fraction"]), seconds_left=left)
    # Only trainings have any.
    if "epoch" in event:
        summary["epoch"] = _number(event["epoch"])


def _network(summary: Summary, event: Event) -> None:
    summary["epochs"] = _whole(event["epochs"])


def _train(summary: Summary, event: Event) -> None:
    losses = [_loss(loss) for loss in event["loss"]]
    _extend_curve(summary, "loss (train)", losses)
    if finite := _finite(losses):
        _extend_sparkline(summary.setdefault("sparkline", {"stride": 1, "seen": 0, "losses": []}), finite)


def _validation(summary: Summary, event: Event) -> None:
    _extend_curve(summary, "loss (val)", [_loss(event["loss"])])


def _finite(losses: list[float | str]) -> list[float]:
    return [loss for loss in losses if not isinstance(loss, str)]


def _extend_curve(summary: Summary, name: str, losses: list[float | str]) -> None:
    """`last` is the last loss as the event says it, a word where it is no finite number; no number is the lowest of
    none, so that `min` and `max` are None then."""
    if not losses:
        return
    curve = summary.setdefault(name, {"last": None, "min": None, "max": None})
    curve["last"] = losses[-1]
    for statistic, extreme in (("min", min), ("max", max)):
        known = [] if curve[statistic] is None else [curve[statistic]]
        curve[statistic] = extreme([*known, *_finite(losses)], default=None)


def _extend_sparkline(sparkline: Summary, values: list[float]) -> None:
    """Keep every stride-th value; when there are too many, every second of those, and twice the stride."""
    for value in values:
        if sparkline["seen"] % sparkline["stride"] == 0:
            # As exact as it is drawn: every list of jobs carries it.
            sparkline["losses"].append(float(f"{value:.4g}"))
        sparkline["seen"] += 1
        if len(sparkline["losses"]) > SPARKLINE_POINTS:
            sparkline["losses"] = sparkline["losses"][::2]
            sparkline["stride"] *= 2


def _snapshot(summary: Summary, event: Event) -> None:
    epoch, done = _whole(event["epoch"]), _number(event.get("epochs_done", event["epoch"]))
    epochs, partial = summary.setdefault("snapshots", []), summary.setdefault("partial_snapshots", {})
    if epoch not in epochs and len(epochs) < MOST_SNAPSHOTS:
        epochs.append(epoch)
    # Keys of JSON are texts.
    partial.pop(str(epoch), None)
    if done != epoch and len(partial) < MOST_SNAPSHOTS:
        partial[str(epoch)] = done


def _waits(summary: Summary, event: Event) -> None:
    reason = event["reason"]
    summary["waits"] = None if reason is None else _text(reason)


def _snapshots_removed(summary: Summary, event: Event) -> None:
    summary["snapshots"] = [epoch for epoch in summary.get("snapshots", []) if epoch not in event["epochs"]]
    partial = summary.get("partial_snapshots", {})
    summary["partial_snapshots"] = {epoch: done for epoch, done in partial.items() if int(epoch) not in event["epochs"]}


def _finished(summary: Summary, event: Event) -> None:
    summary.update(outcome="finished", progress=1.0, seconds_left=None)


def _stopped(summary: Summary, event: Event) -> None:
    cause = event.get("cause")
    summary.update(outcome="stopped", cause=None if cause is None else _text(cause), seconds_left=None)


def _failed(summary: Summary, event: Event) -> None:
    line = event.get("line")
    line = None if line is None else _whole(line)
    summary.update(outcome="failed", cause=_text(event["cause"]), line=line, seconds_left=None)


APPLY = {
    "begun_anew": _begun_anew,
    "started": _started,
    "network": _network,
    "progress": _progress,
    "train": _train,
    "validation": _validation,
    "snapshot": _snapshot,
    "waits": _waits,
    "snapshots_removed": _snapshots_removed,
    "finished": _finished,
    "stopped": _stopped,
    "failed": _failed,
}
