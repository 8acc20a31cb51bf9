"""What lists say of a job, from its events."""

from typing import Any

from jobs.summaries import Summary, apply_event


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
