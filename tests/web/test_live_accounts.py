"""Sockets of a real server on which people have accounts: who may hear what, and until when."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio
from flask.testing import FlaskClient
from flask_socketio.test_client import SocketIOTestClient

from jobs.resources import DATASET_JOBS_AT_ONCE
from tests.conftest import RunningServer, start_server, until
from tests.web import payloads
from tests.web.listening import ListeningClient
from tests.web.people import PASSWORD, People, site_of_people
from webapp.accounts import Accounts, CredentialKind, Role

SESSION = CredentialKind.SESSION
SOON = 10.0  # within which the sockets of a session that has ended are closed


@dataclass
class House:
    """The server, its accounts as the command line has them, and a token of each person."""

    server: RunningServer
    accounts: Accounts
    tokens: dict[str, str]

    def bearer(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    def ask(self, name: str, method: str, path: str, fields: dict[str, Any] | None = None) -> requests.Response:
        return requests.request(method, f"{self.server.url}{path}", data=fields, headers=self.bearer(name), timeout=60)

    def listen(self, headers: dict[str, str], *rooms: str, transport: str = "websocket") -> "Ears":
        return Ears(self.server.url, headers, rooms, transport)


class Ears:
    """A client that may sit in rooms."""

    def __init__(self, url: str, headers: dict[str, str], rooms: tuple[str, ...], transport: str) -> None:
        self.heard: list[dict[str, Any]] = []
        self.client = ListeningClient()
        for event in ("job events", "job update"):
            self.client.on(event, self.heard.append, namespace="/jobs")
        self.client.listen(url, transport, headers)
        self.answers = [self.client.call("join", {"room": room}, namespace="/jobs") for room in rooms]

    def jobs(self) -> set[str]:
        return {message["job_id"] for message in self.heard}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    data_dir = tmp_path_factory.mktemp("house") / "data"
    data_dir.mkdir()
    accounts = Accounts(data_dir / "accounts.sqlite")
    for name in ("ada", "bob", "eve"):
        accounts.add(name, PASSWORD, Role.MEMBER)
    server = start_server(data_dir, tmp_path_factory.getbasetemp(), patient=True)
    assert "Login: with one of 3 accounts." in server.log.read_text()
    yield House(server, accounts, {name: accounts.add_token(name, "test") for name in ("ada", "bob", "eve")})
    server.stop()
    accounts.close()


def test_a_private_job_is_heard_by_its_owner_only(house: House, digit_folders: Any) -> None:
    ears = {name: house.listen(house.bearer(name), "job_management") for name in ("ada", "bob", "eve")}
    form, long = payloads.classification(digit_folders), payloads.long_classification(digit_folders)

    def make(form: dict[str, Any], **changes: str) -> str:
        answer = house.ask("bob", "POST", "/datasets/images/classification.json", form | changes)
        return str(answer.json()["id"])

    # The secret one waits behind two others until its owner listens.
    others = {make(long, private="1") for _ in range(DATASET_JOBS_AT_ONCE)}
    secret = make(form, private="1")
    intruder = house.listen(house.bearer("eve"), secret, "20200101-000000-0000", "job_management")
    assert intruder.answers == [{"error": intruder.answers[0]["error"]}] * 2 + [None]
    assert intruder.answers[0]["error"].startswith("Job not found")
    owner = house.listen(house.bearer("bob"), secret)
    for other in others:
        assert house.ask("bob", "POST", f"/jobs/{other}/abort").ok
    public = make(form)

    def status(job_id: str) -> Any:
        return house.ask("bob", "GET", f"/jobs/{job_id}/status").json()["status"]

    until(lambda: {status(secret), status(public)} == {"Done"}, 60, "both are done")
    assert house.ask("bob", "DELETE", f"/jobs/{secret}").status_code == 200
    assert house.ask("bob", "DELETE", f"/jobs/{public}").status_code == 200
    for ear in (*ears.values(), intruder):
        until(lambda ear=ear: any(message.get("update") == "deleted" and message["job_id"] == public for message in ear.heard),
              60, "the end of the public job is heard")  # fmt: skip
    assert ears["bob"].jobs() - others == {secret, public}
    assert ears["ada"].jobs() == ears["eve"].jobs() == intruder.jobs() == {public}
    until(lambda: any("events" in message for message in owner.heard), 60, "its events are heard")
    for ear in (*ears.values(), intruder, owner):
        ear.client.disconnect()


def test_who_may_not_read_a_job_any_more_hears_no_more_of_it(house: House, digit_folders: Any) -> None:
    form = payloads.classification(digit_folders)
    job = house.ask("bob", "POST", "/datasets/images/classification.json", form).json()["id"]
    ears = {name: house.listen(house.bearer(name), job) for name in ("bob", "eve")}
    at_lists = house.listen(house.bearer("eve"), "job_management")
    assert house.ask("bob", "PUT", f"/jobs/{job}", {"private": "1"}).status_code == 200
    for notes in ("a secret", "another one"):
        house.ask("bob", "PUT", f"/jobs/{job}", {"job_notes": notes, "private": "1"})
    until(lambda: sum(message.get("update") == "attribute" for message in ears["bob"].heard) == 3, 60, "all are heard")
    ends = [{"update": "private", "job_id": job}]
    for ear in (ears["eve"], at_lists):
        until(lambda ear=ear: ends[0] in ear.heard, 20, "the end is heard")
        assert ear.heard[ear.heard.index(ends[0]) :] == ends, "once, and nothing after it"
        assert not [message for message in ear.heard if message.get("private")]
    assert ends[0] not in ears["bob"].heard
    # Public again, the job is told at the lists; in its own room is nobody who was turned out.
    told, heard = len(ears["eve"].heard), len(at_lists.heard)
    assert house.ask("bob", "PUT", f"/jobs/{job}", {"private": "0"}).status_code == 200
    until(
        lambda: any(message["update"] == "attribute" for message in at_lists.heard[heard:]), 20, "the lists hear of it"
    )
    assert len(ears["eve"].heard) == told
    for ear in (*ears.values(), at_lists):
        ear.client.disconnect()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_nobody_connects_without_a_login(house: House, transport: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(socketio.exceptions.ConnectionError):
            house.listen(headers, transport=transport)


@pytest.mark.parametrize("end", ["logs out", "gets another password", "is removed"])
def test_who_has_no_session_any_more_enters_no_room(tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not only when its socket is closed: the two seconds until then are enough to hear much."""
    monkeypatch.setattr("webapp.live.SECONDS_BETWEEN_LOOKS", 3600.0)
    with site_of_people(tmp_path) as people:
        name = people.add("zoe")
        browser = people.log_in(name)
        job = people.dataset("bob")
        ends: dict[str, Callable[[], object]] = {
            "logs out": lambda: people.accounts.end_session(people.accounts.credentials_of(name, SESSION)[0]),
            "gets another password": lambda: people.accounts.set_password(name, "another correct horse"),
            "is removed": lambda: people.accounts.remove(name),
        }
        ears = [ears_of(people, browser) for _ in range(3)]
        for ear in ears:
            assert ear.emit("join", {"room": "job_management"}, namespace="/jobs", callback=True) == []
        ends[end]()
        for ear, room in zip(ears, (job, "job_management", "20200101-000000-0000"), strict=True):
            answer = ear.emit("join", {"room": room}, namespace="/jobs", callback=True)
            assert "not logged in" in answer["error"], room
            assert not ear.is_connected("/jobs"), "nor does it hear on"
            ear.connect("/jobs")
            assert not ear.is_connected("/jobs"), "nor may it begin anew"


def ears_of(people: People, browser: FlaskClient) -> SocketIOTestClient:
    socketio = people.app.extensions["socketio"]
    return SocketIOTestClient(people.app, socketio, namespace="/jobs", flask_test_client=browser)


def test_sockets_close_when_their_session_or_token_ends(house: House) -> None:
    sessions = [requests.Session() for _ in range(2)]
    for session in sessions:
        session.post(f"{house.server.url}/login", data={"username": "eve", "password": PASSWORD}, timeout=60)
    logged_out, changed = (
        {"Cookie": f"layerscope_session={session.cookies['layerscope_session']}"} for session in sessions
    )
    revoked = {"Authorization": f"Bearer {house.accounts.add_token('eve', 'passing')}"}
    over = ("websocket", "polling")
    ears = [house.listen(who, "job_management", transport=by) for who in (logged_out, changed, revoked) for by in over]
    stay = [house.listen(house.bearer("bob"), "job_management", transport=by) for by in over]
    assert all(ear.client.connected for ear in (*ears, *stay))
    sessions[0].post(f"{house.server.url}/logout", timeout=60)
    house.accounts.set_password("eve", PASSWORD)
    tokens = house.accounts.credentials_of("eve", CredentialKind.TOKEN)
    (passing,) = [token for token in tokens if token.description == "passing"]
    house.accounts.revoke_token("eve", passing.id)
    until(lambda: not any(ear.client.connected for ear in ears), SOON, "their sockets are closed")
    assert all(ear.client.connected for ear in stay)
    for ear in stay:
        ear.client.disconnect()
