"""How long a work may take yet: said wide at the start, narrow later, and true, by clocks that are made."""

import random
from collections.abc import Callable

import pytest

from jobs.time_left import MOST_MARKS, TimeLeft

Cost = Callable[[float, random.Random], float]


def share_inside(cost: Cost, after: float = 0.0, pause: float = 0.0, images: int = 100_000) -> float:
    """How often the truth lay in the interval that was said, from second `after` on, with a clock that is made."""
    rnd, now, done, next_mark, said = random.Random(1), 0.0, 0, 0.0, []
    left = TimeLeft(images, now, ["validation"] * (images // 5000) if pause else ())
    while done < images:
        now += cost(now, rnd) * 50
        done += 50
        if now >= next_mark:
            left.mark(now, done)
            next_mark = now + 0.4
            if (interval := left.interval()) and now > after:
                said.append((now, interval))
        if pause and done % 5000 == 0:
            now += pause
            left.pause(pause, "validation")
    return sum(low <= now - then <= high for then, (low, high) in said) / len(said)


@pytest.mark.parametrize(
    ("cost", "after", "pause", "least"),
    [
        (lambda now, rnd: 0.001, 0, 0, 0.99),
        (lambda now, rnd: 0.001 * rnd.uniform(0.5, 1.5), 0, 0, 0.98),
        (lambda now, rnd: 0.01 if now < 1.5 else 0.001, 0, 0, 0.95),
        (lambda now, rnd: 0.001, 0, 1.0, 0.95),
        (lambda now, rnd: 0.001 if now < 40 else 0.002, 48, 0, 0.95),
        (lambda now, rnd: 0.002 if now < 40 else 0.001, 48, 0, 0.95),
        (lambda now, rnd: 0.002 if now % 30 > 20 else 0.001, 30, 0, 0.85),
        (lambda now, rnd: 0.001 * (1 + now / 600), 0, 0, 0.9),
    ],
    ids=["steady", "noisy", "slow start", "validation", "half as fast", "twice as fast", "busy now and then", "slower"],
)
def test_the_time_left_holds_the_truth(cost: Cost, after: float, pause: float, least: float) -> None:
    assert share_inside(cost, after, pause) >= least


def test_the_time_left_is_wide_at_the_start_and_narrow_later() -> None:
    left = TimeLeft(10_000, 0.0)
    widths = []
    for second in range(1, 90):
        left.mark(float(second), second * 100)
        low, high = left.interval() or (0, 0)
        widths.append((high - low) / (100 - second))
    assert widths[0] > 0.4
    assert widths[60] < 0.1


def test_nothing_is_said_while_nothing_is_done() -> None:
    left = TimeLeft(100, 0.0)
    left.mark(5.0, 0)
    assert left.interval() is None


def test_hours_of_marks_take_no_more_room() -> None:
    left = TimeLeft(10_000_000, 0.0)
    for mark in range(1, 50_000):
        left.mark(0.4 * mark, 40 * mark)
    low, high = left.interval() or (0, 0)
    truth = (10_000_000 - 40 * 49_999) / 100
    assert low < truth < high < 1.06 * truth
    assert left.rate(10) == pytest.approx(100)
    assert len(left._times) == len(left._done) <= MOST_MARKS


def test_what_was_done_a_second_leaves_pauses_out() -> None:
    left = TimeLeft(1000, 0.0, ["validation"])
    left.mark(10.0, 100)
    left.pause(30.0, "validation")
    left.mark(50.0, 400)
    assert left.rate(10) == pytest.approx(30)
    assert left.rate(1000) == pytest.approx(20)


def test_each_kind_of_pause_to_come_is_added_as_long_as_it_was() -> None:
    def left_with(pauses: list[str]) -> tuple[float, float]:
        left = TimeLeft(1000, 0.0, ["validation", "snapshot", *pauses])
        for kind, seconds in (("validation", 20.0), ("snapshot", 2.0)):
            left.pause(seconds, kind)
        for second in range(1, 51):
            left.mark(22.0 + second, second * 10)
        return left.interval() or (0, 0)

    low, high = left_with([])
    assert low < 50 < high
    with_snapshots, with_both = left_with(["snapshot"] * 5), left_with(["snapshot"] * 5 + ["validation"] * 5)
    assert low < with_snapshots[0] < low + 10 < with_snapshots[1] < high + 20
    assert low + 20 < with_both[0] < low + 110 < with_both[1] < high + 200


def test_a_pause_that_was_never_seen_is_open() -> None:
    steady = TimeLeft(1000, 0.0)
    surprised = TimeLeft(1000, 0.0, ["validation"])
    for second in range(1, 51):
        steady.mark(float(second), second * 10)
        surprised.mark(float(second), second * 10)
    known, open_end = steady.interval() or (0, 0), surprised.interval() or (0, 0)
    assert open_end[0] == known[0]
    assert open_end[1] > known[1] + 10


def test_at_the_end_no_time_is_left() -> None:
    left = TimeLeft(100, 0.0)
    left.mark(1.0, 50)
    left.mark(2.0, 100)
    assert left.interval() == (0.0, 0.0)


def test_a_clock_that_stands_still_adds_no_mark() -> None:
    left = TimeLeft(100, 5.0)
    left.mark(5.0, 10)
    assert left.rate(10) == 0.0
    left.mark(6.0, 60)
    assert left.rate(10) == pytest.approx(50)
