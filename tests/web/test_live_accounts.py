"""Sockets of a real server on which people have accounts: who may hear what, and until when."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import socketio

from tests.conftest import RunningServer, start_server, until
from tests.web import payloads
from tests.web.people import PASSWORD
from webapp.accounts import Accounts, CredentialKind, Role

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
        return requests.request(method, f"{self.server.url}{path}", data=fields, headers=self.bearer(name), timeout=10)

    def listen(self, headers: dict[str, str], *rooms: str, transport: str = "websocket") -> "Ears":
        return Ears(self.server.url, headers, rooms, transport)


class Ears:
    """A client that may sit in rooms."""

    def __init__(self, url: str, headers: dict[str, str], rooms: tuple[str, ...], transport: str) -> None:
        self.heard: list[dict[str, Any]] = []
        self.client = socketio.Client(reconnection=False)
        for event in ("job events", "job update"):
            self.client.on(event, self.heard.append, namespace="/jobs")
        self.client.connect(url, namespaces=["/jobs"], transports=[transport], headers=headers)
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
    server = start_server(data_dir, tmp_path_factory.getbasetemp())
    assert "Login: with one of 3 accounts." in server.log.read_text()
    yield House(server, accounts, {name: accounts.add_token(name, "test") for name in ("ada", "bob", "eve")})
    server.stop()
    accounts.close()


def test_a_private_job_is_heard_by_its_owner_only(house: House, digit_folders: Any) -> None:
    ears = {name: house.listen(house.bearer(name), "job_management") for name in ("ada", "bob", "eve")}
    form = payloads.classification(digit_folders)
    secret = house.ask("bob", "POST", "/datasets/images/classification.json", form | {"private": "1"}).json()["id"]
    intruder = house.listen(house.bearer("eve"), secret, "20200101-000000-0000", "job_management")
    assert intruder.answers == [{"error": intruder.answers[0]["error"]}] * 2 + [None]
    assert intruder.answers[0]["error"].startswith("Job not found")
    owner = house.listen(house.bearer("bob"), secret)
    public = house.ask("bob", "POST", "/datasets/images/classification.json", form).json()["id"]

    def status(job_id: str) -> Any:
        return house.ask("bob", "GET", f"/jobs/{job_id}/status").json()["status"]

    until(lambda: {status(secret), status(public)} == {"Done"}, 60, "both are done")
    assert house.ask("bob", "DELETE", f"/jobs/{secret}").status_code == 200
    assert house.ask("bob", "DELETE", f"/jobs/{public}").status_code == 200
    for ear in (*ears.values(), intruder):
        until(lambda ear=ear: any(message.get("update") == "deleted" and message["job_id"] == public for message in ear.heard),
              20, "the end of the public job is heard")  # fmt: skip
    assert ears["bob"].jobs() == {secret, public}
    assert ears["ada"].jobs() == ears["eve"].jobs() == intruder.jobs() == {public}
    assert any("events" in message for message in owner.heard)
    for ear in (*ears.values(), intruder, owner):
        ear.client.disconnect()


def test_who_may_not_read_a_job_any_more_hears_no_more_of_it(house: House, digit_folders: Any) -> None:
    form = payloads.classification(digit_folders)
    job = house.ask("bob", "POST", "/datasets/images/classification.json", form).json()["id"]
    ears = {name: house.listen(house.bearer(name), job) for name in ("bob", "eve")}
    assert house.ask("bob", "PUT", f"/jobs/{job}", {"private": "1"}).status_code == 200
    house.ask("bob", "PUT", f"/jobs/{job}", {"job_notes": "a secret"})
    until(lambda: sum(message.get("update") == "attribute" for message in ears["bob"].heard) == 2, 20, "both are heard")
    assert not [message for message in ears["eve"].heard if message.get("private")]
    for ear in ears.values():
        ear.client.disconnect()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_nobody_connects_without_a_login(house: House, transport: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(socketio.exceptions.ConnectionError):
            house.listen(headers, transport=transport)


def test_sockets_close_when_their_session_or_token_ends(house: House) -> None:
    sessions = [requests.Session() for _ in range(2)]
    for session in sessions:
        session.post(f"{house.server.url}/login", data={"username": "eve", "password": PASSWORD}, timeout=10)
    logged_out, changed = (
        {"Cookie": f"layerscope_session={session.cookies['layerscope_session']}"} for session in sessions
    )
    revoked = {"Authorization": f"Bearer {house.accounts.add_token('eve', 'passing')}"}
    over = ("websocket", "polling")
    ears = [house.listen(who, "job_management", transport=by) for who in (logged_out, changed, revoked) for by in over]
    stay = [house.listen(house.bearer("bob"), "job_management", transport=by) for by in over]
    assert all(ear.client.connected for ear in (*ears, *stay))
    sessions[0].post(f"{house.server.url}/logout", timeout=10)
    house.accounts.set_password("eve", PASSWORD)
    tokens = house.accounts.credentials_of("eve", CredentialKind.TOKEN)
    (passing,) = [token for token in tokens if token.description == "passing"]
    house.accounts.revoke_token("eve", passing.id)
    until(lambda: not any(ear.client.connected for ear in ears), SOON, "their sockets are closed")
    assert all(ear.client.connected for ear in stay)
    for ear in stay:
        ear.client.disconnect()
