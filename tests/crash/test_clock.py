"""A clock that is set back by a day in the middle of a job: for the server and for its workers at once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from jobs.events import all_events
from tests.conftest import RunningServer, end_jobs, save_digits, start_server, until
from tests.crash.conftest import shrink
from tests.web import payloads

# What every process of the server runs before anything else: the clock is set back while the file is there.
CLOCK = """
import datetime, os, time

true_time, true_datetime = time.time, datetime.datetime

def shift():
    return 86400 if os.path.exists({file!r}) else 0

class Datetime(true_datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - datetime.timedelta(seconds=shift())

time.time = lambda: true_time() - shift()
datetime.datetime = Datetime
"""


@pytest.fixture
def server(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
           ) -> Iterator[RunningServer]:  # fmt: skip
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(CLOCK.format(file=str(tmp_path / "set back")))
    path = os.pathsep.join(filter(None, [str(tmp_path / "path"), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    running = start_server(tmp_path / "data", tmp_path_factory.getbasetemp())
    yield running
    end_jobs(running)
    running.stop()


def test_a_clock_that_is_set_back_loses_no_job(server: RunningServer, tmp_path: Path, digit_folders: Path) -> None:
    pictures = save_digits(tmp_path / "pictures", 1000)
    url = f"{server.url}/datasets/images/classification.json"
    form = payloads.classification(pictures, resize_width="1024", resize_height="1024")
    first = requests.post(url, data=form, timeout=60).json()["id"]
    events = server.data_dir / "jobs" / first / "events.jsonl"
    until(lambda: "progress" in {event["type"] for event in all_events(events)}, 60, "it is at work")
    (tmp_path / "set back").touch()
    shrink(pictures)
    second = requests.post(url, data=payloads.classification(digit_folders), timeout=60).json()["id"]
    assert second < first, "by its id it is a day older"
    for job_id in (first, second):
        assert server.wait_for_job(job_id)["status"] == "Done"
    times = [event["time"] for event in all_events(events)]
    assert times != sorted(times)
    rows = requests.get(f"{server.url}/completed_jobs.json", timeout=60).json()["datasets"]
    assert {row["id"] for row in rows} == {first, second}
    assert all(0 <= row["elapsed"] < 60 for row in rows)
    for job_id in (first, second):
        assert requests.get(f"{server.url}/datasets/{job_id}", timeout=60).ok
        status = requests.get(f"{server.url}/jobs/{job_id}/events", timeout=60).json()["status"]
        assert [change["status"] for change in status["times"]] == ["Initialized", "Waiting", "Running", "Done"]
        assert 0 <= status["elapsed"] < 60
