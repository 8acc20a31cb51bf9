"""Folds a job's events into the few things that lists and status lines show."""

import logging
import math
from collections.abc import Iterable
from typing import Any

from jobs.events import Event

log = logging.getLogger(__name__)

Summary = dict[str, Any]
SPARKLINE_POINTS = 60
OF_AN_END = ("outcome", "cause", "line", "seconds_left", "waits")


def summary_of(events: Iterable[Event], job_id: str) -> Summary:
    """All of a job's events, folded."""
    summary: Summary = {}
    for event in events:
        take_in(summary, event, job_id)
    return summary


def take_in(summary: Summary, event: Event, job_id: str) -> None:
    """Fold one event in. A strange one, which pasted code may have written, must not keep the job from ending."""
    try:
        apply_event(summary, event)
    except (KeyError, TypeError, ValueError):
        log.exception("Job %s said something strange: %r", job_id, event)


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


def _progress(summary: Summary, event: Event) -> None:
    summary["progress"] = event["fraction"]
    summary["seconds_left"] = event.get("seconds_left")


def _train(summary: Summary, event: Event) -> None:
    _extend_curve(summary, "loss (train)", event["loss"])
    if finite := _finite(event["loss"]):
        _extend_sparkline(summary.setdefault("sparkline", {"stride": 1, "seen": 0, "losses": []}), finite)


def _validation(summary: Summary, event: Event) -> None:
    _extend_curve(summary, "loss (val)", [event["loss"]])


def _finite(losses: list[float | str]) -> list[float]:
    return [loss for loss in losses if isinstance(loss, (int, float)) and math.isfinite(loss)]


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
    epochs = summary.setdefault("snapshots", [])
    if event["epoch"] not in epochs:
        epochs.append(event["epoch"])


def _waits(summary: Summary, event: Event) -> None:
    summary["waits"] = event["reason"]


def _snapshots_removed(summary: Summary, event: Event) -> None:
    summary["snapshots"] = [epoch for epoch in summary.get("snapshots", []) if epoch not in event["epochs"]]


def _finished(summary: Summary, event: Event) -> None:
    summary.update(outcome="finished", progress=1.0, seconds_left=None)


def _stopped(summary: Summary, event: Event) -> None:
    summary.update(outcome="stopped", cause=event.get("cause"), seconds_left=None)


def _failed(summary: Summary, event: Event) -> None:
    summary.update(outcome="failed", cause=event["cause"], line=event.get("line"), seconds_left=None)


APPLY = {
    "begun_anew": _begun_anew,
    "started": _started,
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
