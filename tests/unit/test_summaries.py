"""What lists say of a job, from its events."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from jobs.events import that_count
from jobs.folder import JobFolder
from jobs.summaries import APPLY, MOST_CHARACTERS, Summary, SummaryTakenAnew, apply_event, take_in


def told(*events: dict[str, Any]) -> Summary:
    summary: Summary = {}
    for event in events:
        apply_event(summary, event)
    return summary


def test_a_loss_that_exploded_is_said_and_not_the_last_good_one() -> None:
    summary = told({"type": "train", "loss": [0.5, 0.25]}, {"type": "train", "loss": [0.75, "nan"]})
    assert summary["loss (train)"] == {"last": "nan", "min": 0.25, "max": 0.75}
    assert summary["sparkline"]["losses"] == [0.5, 0.25, 0.75]


def test_a_validation_that_exploded_and_came_back() -> None:
    bad = {"type": "validation", "loss": "infinity"}
    assert told(bad)["loss (val)"] == {"last": "infinity", "min": None, "max": None}
    assert told(bad, {"type": "validation", "loss": 0.5})["loss (val)"] == {"last": 0.5, "min": 0.5, "max": 0.5}


def test_a_training_that_never_had_a_number_has_no_curve_to_draw() -> None:
    summary = told({"type": "train", "loss": ["nan", "nan"]})
    assert summary["loss (train)"]["last"] == "nan"
    assert "sparkline" not in summary


def counting(folder: Path, *events: dict[str, Any]) -> list[dict[str, Any]]:
    """What counts of a log with these events."""
    (folder / "events.jsonl").write_text("".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events))
    return list(chain.from_iterable(that_count(folder / "events.jsonl", APPLY.keys())))


def test_what_was_told_of_steps_that_come_again_does_not_count(tmp_path: Path) -> None:
    def train(step: list[int], loss: list[float]) -> dict[str, Any]:
        return {"type": "train", "step": step, "epoch": step, "loss": loss}

    def snapshot(step: int) -> dict[str, Any]:
        return {"type": "snapshot", "step": step, "epoch": step}

    events = [train([1, 2, 3], [9.0, 8.0, 7.0]), snapshot(2), {"type": "validation", "step": 2, "loss": 5.0},
              train([4, 5], [0.5, "nan"]), {"type": "validation", "step": 5, "loss": 0.1}, snapshot(5),
              {"type": "resumed", "step": 4, "epoch": 4, "told": 4}, train([5, 6], [99.0, 0.25]),
              {"type": "resumed", "step": 2, "epoch": 2, "told": 2}, train([3], [6.0])]  # fmt: skip
    trained = [event for event in counting(tmp_path, *events) if event["type"] == "train"]
    assert [step for event in trained for step in event["step"]] == [1, 2, 3]
    folder = JobFolder(tmp_path)
    summary = SummaryTakenAnew(folder, folder.events.stat().st_size).read_all()
    assert summary["loss (train)"] == {"last": 6.0, "min": 6.0, "max": 9.0}
    assert summary["loss (val)"] == {"last": 5.0, "min": 5.0, "max": 5.0}
    assert summary["sparkline"]["losses"] == [9.0, 8.0, 6.0]
    assert summary["snapshots"] == [2]


def test_a_snapshot_of_the_midst_of_an_epoch_gives_way_to_the_whole() -> None:
    part = {"type": "snapshot", "epoch": 10, "epochs_done": 9.5}
    assert told(part)["partial_snapshots"] == {"10": 9.5}
    assert told(part, {"type": "snapshots_removed", "epochs": [10]})["partial_snapshots"] == {}
    whole = told(part, {"type": "snapshot", "epoch": 10, "epochs_done": 10.0})
    assert (whole["snapshots"], whole["partial_snapshots"]) == ([10], {})


def test_strange_events_are_left_to_who_reads_them(tmp_path: Path) -> None:
    strange: list[dict[str, Any]] = [{"type": "train", "time": 1.0}, {"type": "validation", "step": "x"},
                                     {"type": "resumed", "time": 1.0}]  # fmt: skip
    assert counting(tmp_path, *strange, {"type": "resumed", "step": 0, "epoch": 0, "told": 0})[:3] == strange


@pytest.mark.parametrize("strange", [
    {"type": "progress", "fraction": "x"}, {"type": "progress", "fraction": [1]}, {"type": "progress", "fraction": 1e999},
    {"type": "progress", "fraction": 10**400}, {"type": "progress", "fraction": 0.9, "seconds_left": {"a": 1}},
    {"type": "progress", "fraction": 0.9, "seconds_left": 3}, {"type": "progress", "fraction": 0.9, "seconds_left": [1, "x"]},
    {"type": "train", "loss": ["many"]}, {"type": "train", "loss": {"a": 1}}, {"type": "train", "loss": [[1]]},
    {"type": "validation", "loss": {"a": 1}}, {"type": "validation", "loss": 1e999}, {"type": "snapshot", "epoch": {"a": 1}},
    {"type": "snapshot", "epoch": 2**70},
    {"type": "snapshot", "epoch": 1, "epochs_done": "x"}, {"type": "network", "epochs": 1e999},
    {"type": "waits", "reason": {"a": 1}}, {"type": "stopped", "cause": ["x"]},
    {"type": "failed", "cause": {"a": 1}}, {"type": "failed", "cause": "x", "line": [1]},
    {"type": "failed", "cause": "x", "line": 2**70},
])  # fmt: skip
def test_what_pasted_code_says_must_not_break_the_lists_of_all_jobs(strange: dict[str, Any]) -> None:
    """Nor the database, which could then not note that the job has ended."""
    before = told({"type": "progress", "fraction": 0.5}, {"type": "train", "loss": [1.0]})
    summary = json.loads(json.dumps(before))
    assert take_in(summary, [strange]) == strange
    assert summary == before


def test_a_cause_is_text_that_can_be_kept() -> None:
    cause = told({"type": "failed", "cause": "\ud800" + "x" * 2 * MOST_CHARACTERS})["cause"]
    assert cause == ("?" + "x" * MOST_CHARACTERS)[:MOST_CHARACTERS]
