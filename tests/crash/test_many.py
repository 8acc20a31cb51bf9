"""Many at once: a thousand jobs that wait, two hundred open pages, and more pages than there are threads for."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import websocket
from flask import Flask
from flask_socketio import SocketIOTestClient

from jobs.resources import DATASET_JOBS_AT_ONCE
from jobs.scheduler import Scheduler
from jobs.statuses import Status
from jobs.store import Store
from tests.conftest import end_jobs, start_server
from tests.crash.conftest import long_job, polled_until
from tests.web import payloads
from webapp import create_app
from webapp.config import Settings

JOBS = 1000
PAGES = 200


def test_a_thousand_jobs_wait_and_are_aborted(scheduler: Scheduler, store: Store, many_pictures: Path) -> None:
    ids = [scheduler.submit(long_job(many_pictures)) for _ in range(JOBS)]
    scheduler.poll()
    assert Counter(job.status for job in store.active()) == {
        Status.RUNNING: DATASET_JOBS_AT_ONCE, Status.WAITING: JOBS - DATASET_JOBS_AT_ONCE}  # fmt: skip
    assert [job.id for job in store.running()] == ids[:DATASET_JOBS_AT_ONCE]
    began = time.process_time()
    for _ in range(20):
        scheduler.poll()
    assert time.process_time() - began < 1.0, "twenty rounds are two seconds of a server's life"
    for job_id in ids:
        scheduler.abort(job_id)
    polled_until(scheduler, lambda: not store.active())
    assert {store.get(job_id).status for job_id in ids} == {Status.ABORTED}


class OpenPage:
    """A socket in the room of a job, as the page of it has."""

    def __init__(self, url: str, job_id: str) -> None:
        address = f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
        self.socket = websocket.create_connection(address, timeout=60, origin=url)
        for message in ("", "40/jobs,", f'42/jobs,0["join",{{"room":"{job_id}"}}]'):
            if message:
                self.socket.send(message)
            self._hear()

    def _hear(self) -> str:
        """The next message that is no ping; those it answers."""
        while True:
            message = str(self.socket.recv())
            assert message, "the server has closed the socket of a page that answered its pings"
            if message != "2":
                return message
            self.socket.send("3")

    def hear_the_end(self) -> int:
        """Hears all until the job is done; the byte up to which events came."""
        heard = 0
        while True:
            message = self._hear()
            if message.startswith("43"):
                # That it has joined; what was told in that moment may have come before.
                continue
            name, content = json.loads(message.partition(",")[2])
            if name == "job events":
                assert content["since"] == heard or heard == 0, "no hole"
                heard = content["next"]
            elif content.get("status") == "Done":
                return heard


def test_two_hundred_open_pages_hear_all_and_the_server_answers(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, many_pictures: Path
) -> None:
    server = start_server(tmp_path / "data", tmp_path_factory.getbasetemp(), patient=True)
    form = payloads.classification(many_pictures, resize_width="200", resize_height="200")
    url = f"{server.url}/datasets/images/classification.json"
    # It waits behind two others until all pages are open.
    long = payloads.classification(many_pictures, resize_width="2048", resize_height="2048")
    others = [requests.post(url, data=long, timeout=60).json()["id"] for _ in range(DATASET_JOBS_AT_ONCE)]
    job_id = requests.post(url, data=form, timeout=60).json()["id"]
    with ThreadPoolExecutor(PAGES) as readers:
        pages: list[OpenPage] = []
        reading: list[Future[int]] = []
        for _ in range(PAGES):
            pages.append(OpenPage(server.url, job_id))
            reading.append(readers.submit(pages[-1].hear_the_end))
        for other in others:
            requests.post(f"{server.url}/jobs/{other}/abort", timeout=60)
        ends = {reader.result() for reader in reading}
    answer = requests.get(f"{server.url}/jobs/{job_id}/events?since=0", timeout=60)
    assert ends == {answer.json()["next"]}
    for page in pages:
        page.socket.close()
    end_jobs(server)
    server.stop()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app(Settings(data_dir=tmp_path / "data", most_sockets=2))
    yield app
    app.extensions["layerscope"].close()


def test_a_page_too_many_gets_no_socket_until_another_closes(app: Flask) -> None:
    def open_page() -> SocketIOTestClient:
        return app.extensions["socketio"].test_client(app, namespace="/jobs")

    first, second, third = open_page(), open_page(), open_page()
    assert [page.is_connected("/jobs") for page in (first, second, third)] == [True, True, False]
    first.disconnect("/jobs")
    assert open_page().is_connected("/jobs")
