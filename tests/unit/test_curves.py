"""The curve that pages get: thinned without losing a spike, exact at its seam, cheap to ask for again."""

import csv
import io
import json
import math
import random
import threading
from pathlib import Path

import pytest

from jobs.curves import MOST_BYTES, Curve, Curves
from tests.curve_events import STEPS_PER_EPOCH, write_points, write_training


def read(path: Path) -> Curve:
    curve = Curve(path)
    curve.read_on()
    return curve


def everything(curve: Curve, buckets: int = 1000, smoothing: float = 0.0) -> dict:
    view = curve.view(-math.inf, math.inf, buckets, smoothing)
    json.dumps(view, allow_nan=False)
    return view


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_a_short_curve_comes_whole(log: Path) -> None:
    write_training(log, [3.0, 2.0, 1.0])
    view = everything(read(log))
    assert view["train"]["loss"] == [3.0, 2.0, 1.0]
    assert view["train"]["step"] == [1, 2, 3]
    assert view["validation"]["loss"] == [0.1]
    assert (view["points"], view["validation_points"], view["whole"]) == (3, 1, True)
    assert view["next"] == log.stat().st_size


@pytest.mark.parametrize("seed", range(12))
def test_thinning_keeps_every_lowest_highest_and_last(log: Path, seed: int) -> None:
    rnd = random.Random(seed)
    losses = [rnd.lognormvariate(0, 1) for _ in range(rnd.randrange(3000, 8000))]
    for _ in range(5):
        losses[rnd.randrange(len(losses))] = rnd.choice([1e6, -1e6, math.nan, math.inf, -math.inf])
    rates = [rnd.random() for _ in losses]
    write_training(log, losses, learning_rates=rates)
    buckets = rnd.randrange(20, 300)
    low, high = sorted((rnd.uniform(0, 40), rnd.uniform(0, 40))) if seed % 2 else (0.0, 1e9)
    curve = read(log)
    kept = curve.view(low, high, buckets)["train"]
    inside = [step for step in range(1, len(losses) + 1) if low <= round(step / STEPS_PER_EPOCH, 6) <= high]
    if not inside:
        assert kept["step"] == []
        return
    assert set(kept["step"]) <= set(inside)
    assert len(kept["step"]) <= 5 * buckets
    assert kept["step"][-1] == inside[-1]
    first, last = inside[0] / STEPS_PER_EPOCH, inside[-1] / STEPS_PER_EPOCH
    by_bucket: dict[int, list[int]] = {}
    for step in inside:
        bucket = int((step / STEPS_PER_EPOCH - first) / ((last - first) / buckets or 1))
        by_bucket.setdefault(min(bucket, buckets - 1), []).append(step)
    # At a bucket's edge the last digit of a step's epoch may decide: look at what is well inside.
    shown = set(kept["step"])
    for steps in by_bucket.values():
        for values in (losses, rates):
            finite = {step: values[step - 1] for step in steps[1:-1] if math.isfinite(values[step - 1])}
            if not finite:
                continue
            around = range(steps[0], steps[-1] + 1)
            seen = [values[step - 1] for step in shown.intersection(around) if math.isfinite(values[step - 1])]
            assert min(seen) <= min(finite.values())
            assert max(seen) >= max(finite.values())
    finite = [losses[step - 1] for step in inside if math.isfinite(losses[step - 1])]
    seen = [loss for loss in kept["loss"] if not isinstance(loss, str)]
    assert (min(seen), max(seen)) == (min(finite), max(finite))


def test_a_constant_learning_rate_keeps_no_more_points(log: Path) -> None:
    write_training(log, [1.0] * 20_000)
    assert len(everything(read(log), buckets=100)["train"]["step"]) <= 200


def test_what_is_no_number_is_counted_and_sent_as_a_word(log: Path) -> None:
    write_training(log, [1.0, math.nan, 0.0, -2.0, math.inf], validate=False)
    view = everything(read(log))
    assert view["train"]["loss"] == [1.0, "nan", 0.0, -2.0, "infinity"]
    assert (view["not_finite"], view["not_positive"]) == (2, 2)


def test_a_curve_of_words_alone_can_be_asked_for(log: Path) -> None:
    write_training(log, [math.nan] * 9000, validate=False)
    view = everything(read(log), buckets=10, smoothing=0.01)
    assert view["outliers"] is None
    assert set(view["train"]["loss"]) == {"nan"}
    assert set(view["train"]["smooth"]) == {"nan"}


def test_a_training_that_has_not_begun_has_an_empty_curve(log: Path) -> None:
    view = everything(read(log), smoothing=0.1)
    assert view["train"]["step"] == []
    assert view["points"] == 0
    assert read(log).epochs(10)["epoch"] == []
    assert list(read(log).csv()) == ["step,epoch,training_loss,validation_loss,learning_rate\n"]


def test_points_are_read_on_from_where_reading_ended(log: Path) -> None:
    writer = write_training(log, [1.0] * 500, validate=False)
    curve = read(log)
    before = curve.offset
    with log.open("ab") as file:
        file.write(b'{"type":"train","time":1,"step":[501],"epo')
    curve.read_on()
    assert (curve.offset, curve.train.size) == (before, 500), "half a line is not read"
    with log.open("rb+") as file:
        file.truncate(before)
    writer.write("train", step=[501], epoch=[5.01], loss=[7.0], learning_rate=[0.1])
    curve.read_on()
    assert everything(curve)["points"] == 501
    assert curve.offset == log.stat().st_size
    assert everything(curve) == everything(read(log))


def debiased(losses: list[float], window: float) -> list[float]:
    """The average as the textbook has it."""
    keep, value, averages = 1 - 1 / window, 0.0, []
    for count, loss in enumerate(losses, 1):
        value = keep * value + (1 - keep) * loss
        averages.append(value / (1 - keep**count))
    return averages


def test_the_average_is_that_of_all_points_wherever_one_looks(log: Path) -> None:
    rnd = random.Random(3)
    losses = [rnd.random() for _ in range(9000)]
    writer = write_training(log, losses[:4000], validate=False)
    curve = read(log)
    curve.planned_steps = 9000
    everything(curve, smoothing=0.01)
    write_points(writer, losses[4000:], after=4000)
    curve.read_on()
    expected = debiased(losses, 90)
    for view in (everything(curve, 50, 0.01), curve.view(40, 41, 50, 0.01)):
        for step, smooth in zip(view["train"]["step"], view["train"]["smooth"], strict=True):
            assert smooth == pytest.approx(expected[int(step) - 1])
        assert view["average"]["window"] == 90
        assert view["average"]["weighted"] / view["average"]["weight"] == pytest.approx(expected[-1])


def test_the_average_of_a_long_training_grows_with_what_is_done(log: Path) -> None:
    rnd = random.Random(4)
    losses = [rnd.random() for _ in range(5000)]
    writer = write_training(log, losses[:4000], validate=False)
    curve = read(log)
    curve.planned_steps = 1_000_000
    assert everything(curve, smoothing=0.01)["average"]["window"] == pytest.approx(40.96)
    write_points(writer, losses[4000:], after=4000)
    curve.read_on()
    view = everything(curve, 50, 0.01)
    assert view["average"]["window"] == pytest.approx(81.92)
    expected = debiased(losses, 81.92)
    for step, smooth in zip(view["train"]["step"], view["train"]["smooth"], strict=True):
        assert smooth == pytest.approx(expected[int(step) - 1])


def test_an_average_over_less_than_two_steps_is_none(log: Path) -> None:
    write_training(log, [1.0] * 100)
    view = everything(read(log), smoothing=0.01)
    assert view["average"] is None
    assert "smooth" not in view["train"]


def test_outliers_are_counted_among_all_points(log: Path) -> None:
    losses = [1 + step / 10_000 for step in range(10_000)]
    losses[5000] = 500.0
    write_training(log, losses)
    outliers = everything(read(log), buckets=10)["outliers"]
    assert outliers["low"] == pytest.approx(1.01, abs=0.001)
    assert outliers["high"] == pytest.approx(1.99, abs=0.001)
    assert outliers["outside"] == 200


def test_a_row_for_each_epoch_says_what_all_its_points_say(log: Path) -> None:
    rnd = random.Random(5)
    losses = [rnd.random() for _ in range(950)]
    losses[120] = math.nan
    write_training(log, losses)
    rows = read(log).epochs(100)
    assert rows["epoch"] == list(range(1, 11))
    second = [loss for loss in losses[100:200] if math.isfinite(loss)]
    assert rows["mean"][1] == pytest.approx(sum(second) / 99)
    assert (rows["lowest"][1], rows["highest"][1]) == (min(second), max(second))
    assert rows["highest"][9] == max(losses[900:])
    assert rows["validation"] == [epoch / 10 for epoch in range(1, 11)]
    assert read(log).epochs(3)["epoch"] == [8, 9, 10]


def test_the_csv_has_every_point_once(log: Path) -> None:
    losses = [1.5, math.nan, math.inf] + [0.25] * 9000
    writer = write_training(log, losses)
    writer.write("validation", step=9500, epoch=95.0, loss=2.0)
    rows = list(csv.reader(io.StringIO("".join(read(log).csv()))))
    assert rows[0] == ["step", "epoch", "training_loss", "validation_loss", "learning_rate"]
    assert rows[1] == ["1", "0.01", "1.5", "", "0.1"]
    assert [row[2] for row in rows[2:4]] == ["nan", "infinity"]
    assert rows[100] == ["100", "1.0", "0.25", "0.1", "0.1"]
    assert rows[-1] == ["9500", "95.0", "", "2.0", ""]
    assert [int(row[0]) for row in rows[1:9004]] == list(range(1, 9004))


def test_the_csv_is_that_of_the_moment_at_which_it_was_asked_for(log: Path) -> None:
    writer = write_training(log, [1.0] * 100)
    curve = read(log)
    lines = curve.csv()
    write_points(writer, [2.0] * 100, after=100)
    curve.read_on()
    assert len("".join(lines).splitlines()) == 101


GOOD = {"step": [3], "epoch": [0.03], "loss": [1.0], "learning_rate": [0.1]}


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("train", {}),
        ("train", GOOD | {"loss": [1.0, 2.0]}),
        ("train", GOOD | {"step": [3, 4], "epoch": [0.03, 0.04], "loss": [1.0, 2.0]}),
        ("train", {name: values for name, values in GOOD.items() if name != "learning_rate"}),
        ("train", GOOD | {"loss": ["many"]}),
        ("train", GOOD | {"loss": [None]}),
        ("train", GOOD | {"loss": [[1.0]]}),
        ("train", GOOD | {"loss": 1.0}),
        ("train", GOOD | {"loss": [10**400]}),
        ("train", GOOD | {"step": ["nan"]}),
        ("train", GOOD | {"step": [1]}),
        ("train", GOOD | {"epoch": ["infinity"]}),
        ("validation", {}),
        ("validation", {"step": 1, "epoch": 0.01, "loss": [1.0]}),
        ("network", {"epochs": 5}),
        ("network", {"steps_per_epoch": "ten", "epochs": 5}),
    ],
)
def test_a_damaged_event_is_passed_over_and_told_once(
    log: Path, caplog: pytest.LogCaptureFixture, type: str, fields: dict
) -> None:
    writer = write_training(log, [5.0, 4.0], validate=False)
    writer.write(type, **fields)
    writer.write(type, **fields)
    write_points(writer, [3.0, 2.0], after=2)
    curve = read(log)
    curve.read_on()
    assert everything(curve)["train"]["loss"] == [5.0, 4.0, 3.0, 2.0]
    assert everything(curve)["validation"]["loss"] == []
    assert (curve.offset, curve.planned_steps) == (log.stat().st_size, STEPS_PER_EPOCH)
    assert len(list(curve.csv())) == 2
    assert curve.epochs(5)["epoch"] == [1]
    assert len(caplog.messages) == 1
    assert "damaged" in caplog.text


def test_curves_are_kept_as_far_as_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{number}.jsonl" for number in range(6)]
    for path in paths:
        write_training(path, [1.0] * 5000)
    curves = Curves()

    def asked(path: Path) -> Curve:
        with curves.read(path) as curve:
            everything(curve, 10, 0.01)
        return curve

    size = asked(paths[0]).bytes
    assert 5 * 8 * 5000 <= size < MOST_BYTES
    monkeypatch.setattr("jobs.curves.MOST_BYTES", 3 * size)
    kept = [asked(path) for path in paths]
    assert [asked(path) is curve for path, curve in zip(paths[3:], kept[3:], strict=True)] == [True] * 3
    assert asked(paths[0]) is not kept[0]

    curves.forget(paths[5])
    assert asked(paths[5]) is not kept[5]

    monkeypatch.setattr("jobs.curves.MOST_BYTES", size // 2)
    alone = asked(paths[1])
    assert asked(paths[1]) is alone, "one that is too large alone stays"


def test_threads_share_a_curve(log: Path) -> None:
    write_training(log, [1.0] * 5000)
    curves = Curves()

    def ask() -> None:
        with curves.read(log) as curve:
            everything(curve, 10, 0.01)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with curves.read(log) as curve:
        assert everything(curve)["points"] == 5000
