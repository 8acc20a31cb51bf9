"""What a page hears while a job runs, through real sockets on a real server."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio

from jobs.resources import DATASET_JOBS_AT_ONCE
from tests.conftest import RunningServer, end_jobs, start_server, until
from tests.web import payloads
from tests.web.listening import ListeningClient


class Listener:
    """A client in the room of a job, as `static/js/live.js` is one."""

    def __init__(self, server: RunningServer, job_id: str, transport: str = "websocket") -> None:
        self.messages: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []
        self.client = ListeningClient()
        self.client.on("job events", self.messages.append, namespace="/jobs")
        self.client.on("job update", self.updates.append, namespace="/jobs")
        self.client.listen(server.url, transport)
        self.client.call("join", {"room": job_id}, namespace="/jobs")

    def heard(self) -> list[dict[str, Any]]:
        return [event for message in self.messages for event in message["events"]]


@pytest.fixture
def server(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path / "data", tmp_path_factory.getbasetemp(), patient=True)
    yield running
    end_jobs(running)
    running.stop()


def submit(server: RunningServer, form: dict[str, Any]) -> str:
    answer = requests.post(f"{server.url}/datasets/images/classification.json", data=form, timeout=60)
    return str(answer.json()["id"])


def read_again(server: RunningServer, job_id: str, since: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(f"{server.url}/jobs/{job_id}/events?since={since}", timeout=60).json()
    return answer


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_what_is_heard_live_can_be_read_again(server: RunningServer, digit_folders: Path, transport: str) -> None:
    # It waits behind two others until somebody listens.
    others = [submit(server, payloads.long_classification(digit_folders)) for _ in range(DATASET_JOBS_AT_ONCE)]
    job_id = submit(server, payloads.classification(digit_folders))
    listener = Listener(server, job_id, transport)
    for other in others:
        requests.post(f"{server.url}/jobs/{other}/abort", timeout=60)
    server.wait_for_job(job_id)
    until(lambda: any(update.get("status") == "Done" for update in listener.updates), 60, "the end is heard")
    again = read_again(server, job_id)
    # Who comes a moment late misses the first events, and knows it by the offset.
    first = listener.messages[0]["since"]
    before = read_again(server, job_id)["events"] if first == 0 else None
    assert listener.heard() == (before or read_again(server, job_id, first)["events"])
    offsets = [(message["since"], message["next"]) for message in listener.messages]
    assert all(one[1] == other[0] for one, other in pairwise(offsets)), "no hole between messages"
    assert offsets[-1][1] == again["next"]
    listener.client.disconnect()


def test_the_home_page_hears_of_every_job(server: RunningServer, digit_folders: Path) -> None:
    listener = Listener(server, "job_management")
    job_id = submit(server, payloads.classification(digit_folders))
    server.wait_for_job(job_id)
    requests.delete(f"{server.url}/jobs/{job_id}", timeout=60)
    kinds = ("added", "status", "progress", "deleted")
    until(lambda: {update["update"] for update in listener.updates} >= set(kinds), 60, "all kinds of change are heard")
    assert {update["job_id"] for update in listener.updates} == {job_id}
    rows = [update["row"] for update in listener.updates if update["update"] == "progress"]
    assert rows[-1] | {"elapsed": 0} == rows[-1] | {"elapsed": 0, "id": job_id, "type": "dataset", "progress": 100.0}
    listener.client.disconnect()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_page_of_another_site_gets_no_socket(server: RunningServer, transport: str) -> None:
    client = socketio.Client(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(
            server.url, namespaces=["/jobs"], transports=[transport], headers={"Origin": "http://evil.example"}
        )


def test_a_page_whose_server_falls_silent_knows_it_within_ten_seconds(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    listener = Listener(server, "job_management")
    listener.client.disconnect()
    server.stop()
    assert listener.client.eio.ping_interval + listener.client.eio.ping_timeout < 10


def test_a_server_that_was_killed_is_followed_by_one_that_goes_on(tmp_path: Path, digit_folders: Path) -> None:
    first = start_server(tmp_path / "data", digit_folders)
    job_id = submit(first, payloads.classification(digit_folders))
    listener = Listener(first, job_id)
    first.process.kill()
    first.process.wait()
    until(lambda: not listener.client.connected, 60, "the rest of the server lets go of open pages")
    successor = start_server(tmp_path / "data", digit_folders)
    try:
        assert successor.wait_for_job(job_id)["status"] == "Done"
        events = [event["type"] for event in read_again(successor, job_id)["events"]]
        assert events.count("started") == 1
        assert events[-1] == "finished"
    finally:
        end_jobs(successor)
        successor.stop()
