"""What a worker says is heard a page at a time, whatever it says."""

from pathlib import Path

import pytest

from jobs.events import PART_BYTES, EventPage, EventWriter
from jobs.folder import JobFolder
from jobs.scheduling.hearing import Hearing
from jobs.scheduling.listeners import Listeners
from jobs.statuses import Status
from jobs.store import Store

LINES = 40_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With one job, "a", that runs."""
    store = Store(tmp_path / "store.sqlite")
    store.add("a", "generic-image-model", "model", "LeNet", "", 1.0, None)
    store.move("a", Status.INITIALIZED, Status.RUNNING, 2.0)
    return store


@pytest.mark.parametrize("line", ["", '{"type":"snapshot","epoch":1}', '{"type":"message","text":"x"}'])
def test_who_says_very_much_keeps_nobody_waiting(tmp_path: Path, store: Store, line: str) -> None:
    folder = JobFolder(tmp_path)
    folder.events.write_text(f"{line}\n" * LINES + '{"type":"progress","fraction":0.5}\n')
    heard_events: list[int] = []

    def count(_job_id: str, page: EventPage) -> None:
        heard_events.append(len(page.events))

    hearing = Hearing(store, Listeners(events=[count]))
    assert not hearing.hear(store.get("a"), folder).is_all
    while not (heard := hearing.hear(store.get("a"), folder)).is_all:
        assert heard.is_news
    assert heard.summary["progress"] == 0.5
    assert sum(heard_events) == LINES + 1
    assert max(heard_events) <= LINES / 4, "neither a round nor an answer is full of them"
    assert store.get("a").event_offset == folder.events.stat().st_size


def test_a_training_with_a_long_past_that_is_taken_up_again_keeps_nobody_waiting(tmp_path: Path, store: Store) -> None:
    folder = JobFolder(tmp_path)
    events = EventWriter(folder.events)
    step = 0
    while folder.events.stat().st_size < 2.5 * PART_BYTES:
        steps = range(step, step + 5_000)
        step = steps.stop
        events.write("train", step=list(steps), loss=[float(step) for step in steps], learning_rate=[0.01] * len(steps))
        events.write("progress", fraction=0.5)
    end = folder.events.stat().st_size
    store.record_events("a", 0, end, {"loss (train)": {"last": 0, "min": -1, "max": 0}})
    events.write("resumed", step=100, epoch=1, told=100)
    events.write("progress", fraction=0.1)

    hearing, rounds = Hearing(store, Listeners()), 0
    while not (heard := hearing.hear(store.get("a"), folder)).is_all:
        rounds += 1
        assert heard.is_news
        # It goes on telling meanwhile.
        events.write("train", step=[100 + rounds], loss=[float(rounds)], learning_rate=[0.01])
    assert rounds > 4
    assert heard.summary["loss (train)"] == {"last": rounds, "min": 0.0, "max": 100.0}
    assert heard.summary["progress"] == 0.1
    assert store.get("a").event_offset == folder.events.stat().st_size


def test_a_job_that_says_strange_things_is_complained_of_once(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    folder, hearing = JobFolder(tmp_path), Hearing(store, Listeners())
    for _ in range(3):
        with folder.events.open("a") as file:
            file.write('{"type":"train"}\n' * 1000 + '{"type":"progress","fraction":0.5}\n')
        assert hearing.hear(store.get("a"), folder).summary["progress"] == 0.5
    assert caplog.text.count("said something strange") == 1
