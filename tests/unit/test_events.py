"""The event log: whole lines, read by offset, strict JSON."""

import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.events import BLOCK_BYTES, LONGEST_LINE, EventPage, EventWriter, all_events, in_words, read_events


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_events_are_read_from_where_the_last_read_ended(log: Path) -> None:
    writer = EventWriter(log)
    writer.write("first", number=1)
    page = read_events(log)
    assert [event["type"] for event in page.events] == ["first"]
    writer.write("second")
    assert [event["type"] for event in read_events(log, page.next).events] == ["second"]


def test_a_log_that_does_not_exist_yet_is_empty(log: Path) -> None:
    assert read_events(log).events == []


def test_threads_write_whole_lines(log: Path) -> None:
    writer = EventWriter(log)

    def write(name: str) -> None:
        for number in range(300):
            writer.write(name, number=number, filling="x" * number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    events = list(all_events(log))
    for name in "abcd":
        assert [event["number"] for event in events if event["type"] == name] == list(range(300))


def test_half_a_line_is_not_read(log: Path) -> None:
    EventWriter(log).write("whole")
    with log.open("ab") as file:
        file.write(b'{"type":"torn"')
    page = read_events(log)
    assert [event["type"] for event in page.events] == ["whole"]
    assert page.next < log.stat().st_size


@pytest.mark.parametrize("rest", [b"", b"x" * 3 * BLOCK_BYTES])
def test_the_next_writer_drops_half_a_line_and_nothing_else(log: Path, rest: bytes) -> None:
    EventWriter(log).write("whole")
    with log.open("ab") as file:
        file.write(b'{"type":"torn"' + rest)
    EventWriter(log).write("after")
    assert [event["type"] for event in all_events(log)] == ["whole", "after"]


def test_a_log_that_lost_its_end_is_told_of_up_to_its_last_whole_line(log: Path) -> None:
    writer = EventWriter(log)
    writer.write("whole")
    end = log.stat().st_size
    with log.open("ab") as file:
        file.write(b'{"type":"torn"')
    page = read_events(log, since=end + 1000)
    assert (page.events, page.next, page.more) == ([], end, False)


def test_a_long_log_comes_in_pages_that_lose_nothing(log: Path) -> None:
    writer = EventWriter(log)
    for number in range(500):
        writer.write("point", number=number)
    seen, since, more = [], 0, True
    while more:
        page = read_events(log, since, limit_bytes=1000)
        seen += [event["number"] for event in page.events]
        since, more = page.next, page.more
    assert seen == list(range(500))


def test_a_page_is_as_long_as_what_is_wanted_of_it(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EventWriter(log)
    for number in range(1000):
        writer.write("train", number=number)
        writer.write("progress", number=number)
    writer.write("message", text="end")
    page = read_events(log, limit_bytes=1000, without=("other",))
    assert len(page.events) < 30, "a type that is not there makes no page longer"
    assert page.more
    page = read_events(log, limit_bytes=1000, without=("train",), latest=("progress",))
    assert [event.get("number") for event in page.events] == [999, None]
    assert (page.next, page.more) == (log.stat().st_size, False)
    monkeypatch.setattr("jobs.events.MOST_PASSED_OVER", 500)
    page = read_events(log, without=("train", "progress", "message"))
    assert (page.events, page.more) == ([], True)
    assert 500 <= page.next < 700


def test_a_page_ends_where_it_was_asked_to(log: Path) -> None:
    writer = EventWriter(log)
    writer.write("one")
    end = log.stat().st_size
    writer.write("two")
    page = read_events(log, until=end)
    assert ([event["type"] for event in page.events], page.next, page.more) == (["one"], end, True)
    assert read_events(log, end, until=end) == EventPage([], end, end, False)


def test_a_line_longer_than_a_page_is_read_whole(log: Path) -> None:
    EventWriter(log).write("long", text="x" * 5000)
    assert read_events(log, limit_bytes=100).events[0]["text"] == "x" * 5000


def test_numbers_that_json_has_not_are_refused_and_have_words(log: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        EventWriter(log).write("train", loss=float("nan"))
    assert [in_words(value) for value in (float("nan"), float("inf"), -float("inf"), 1.5)] == [
        "nan", "infinity", "-infinity", 1.5]  # fmt: skip
    EventWriter(log).write("train", loss=in_words(float("nan")))
    assert json.loads(log.read_text())["loss"] == "nan"


@pytest.mark.parametrize("number, word", [
    ("NaN", "nan"), ("1e999", "infinity"), ("-1e999", "-infinity"), ("-Infinity", "-infinity"), ("1E+400", "infinity"),
    ("9" * 400 + ".0", "infinity"), ("1e-999", 0.0), ("2.5e100", 2.5e100), ("0.25", 0.25),
])  # fmt: skip
def test_what_pasted_code_writes_for_a_number_is_strict_json_for_who_reads_it(
    log: Path, number: str, word: float | str
) -> None:
    log.write_text(f'{{"type":"usage","deep":[{{"number":{number}}}]}}\n')
    (event,) = read_events(log).events
    assert event["deep"] == [{"number": word}]
    json.dumps(event, allow_nan=False)


def test_a_line_that_the_disk_takes_half_of_is_taken_back(log: Path) -> None:
    writer = EventWriter(log)
    writer.write("whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 50, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.write("torn", text=100 * "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.write("after")
    assert [event["type"] for event in all_events(log)] == ["whole", "after"]


def test_a_name_without_utf8_can_be_read_and_shown(log: Path) -> None:
    EventWriter(log).write("named", name=os.fsdecode(b"caf\xe9 \xf0\x9f\x98\x80"), text="über")
    (event,) = all_events(log)
    assert event["name"].encode().decode().startswith("caf? \N{GRINNING FACE}"), event
    assert event["text"] == "über"


def test_types_are_left_out_and_of_passing_ones_the_last_is_enough(log: Path) -> None:
    writer = EventWriter(log)
    for number in range(3):
        writer.write("train", number=number)
        writer.write("progress", number=number)
        writer.write("progress_of_another_kind", number=number)
    page = read_events(log, without=("train",), latest=("progress", "usage"))
    assert [(event["type"], event["number"]) for event in page.events] == [
        ("progress_of_another_kind", 0),
        ("progress_of_another_kind", 1),
        ("progress", 2),
        ("progress_of_another_kind", 2),
    ]
    assert (page.next, page.more) == (log.stat().st_size, False)


def test_what_pasted_code_makes_of_the_log_fills_no_memory_and_stops_no_reader(log: Path) -> None:
    log.mkdir()
    assert read_events(log).events == []
    log.rmdir()
    EventWriter(log).write("first")
    end = log.stat().st_size
    with log.open("ab") as file:
        file.write(b"[" * 100_000 + b"\n")
    assert [event["type"] for event in all_events(log)] == ["first", "message"]
    # A hole of this size takes no room on the disk, and is one line.
    os.truncate(log, 2**40)
    assert [event["type"] for event in all_events(log)] == ["first", "message"]
    with log.open("rb+") as file:
        file.truncate(end)
        file.seek(end + LONGEST_LINE)
        file.write(b'\n{"type":"second"}\n')
    assert [event["type"] for event in all_events(log)] == ["first"]
