"""`layerscope serve` where it cannot serve: a sentence and an exit status, at once."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import requests

from tests.conftest import RunningServer, start_server
from webapp.cli import Server, _is_loopback
from webapp.config import Settings


def attempt(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A server that does not start."""
    command = [sys.executable, "-m", "webapp.cli", "serve", *arguments]
    # A name that nobody knows is asked for once, however slow the network's own answer is.
    known = {**os.environ, "RES_OPTIONS": "timeout:1 attempts:1", **(environment or {})}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=known)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    return ended


def refusal(*arguments: str) -> str:
    return attempt(*arguments).stderr


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal("--port", str(port), "--data-dir", str(tmp_path))
    assert f"Port {port} of 127.0.0.1 cannot be served: another program listens there." in said
    assert "--port" in said


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    said = refusal("--host", "192.0.2.1", "--port", "0", "--data-dir", str(tmp_path))
    assert "of 192.0.2.1 cannot be served" in said


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("This is a text.")
    said = refusal("--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert re.search(r"data directory .*file/data cannot be used: Not a directory\. .*--data-dir", said)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be used: Permission denied" in refusal("--port", "0", "--data-dir", str(tmp_path))


def test_a_list_of_jobs_of_a_newer_version(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "layerscope.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer Layerscope (version 99" in refusal("--port", "0", "--data-dir", str(tmp_path))


def test_a_second_server_on_one_data_directory_is_refused(server: RunningServer) -> None:
    said = refusal("--port", "0", "--data-dir", str(server.data_dir))
    assert f"Another Layerscope serves {server.data_dir}" in said
    assert requests.get(f"{server.url}/index.json", timeout=60).ok


def test_that_other_names_need_no_password_either_is_said(server: RunningServer) -> None:
    options = ("--port", "0", "--data-dir", str(server.data_dir))
    assert "--behind-proxy" not in attempt(*options).stdout
    said = attempt(*options, "--allow-host", "layerscope.example.org").stdout
    assert "Nor does who reaches it as layerscope.example.org need a password." in said
    assert "--behind-proxy" in said


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_the_loopback_address_of_ipv6_is_served_like_that_of_ipv4(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", host="::1")
    try:
        assert re.fullmatch(r"http://\[::1\]:\d+", server.url)
        assert "Login: none; only this machine is served." in server.log.read_text()
        assert requests.get(f"{server.url}/index.json", timeout=60).ok
        other_name = requests.get(f"{server.url}/index.json", headers={"Host": "[2001:db8::1]"}, timeout=60)
        assert other_name.status_code == 421
    finally:
        server.stop()


@pytest.mark.parametrize(("host", "bound"), [
    ("127.0.0.1", ("127.0.0.1", 7000)), ("localhost", ("localhost", 7000)), ("::", ("::", 7000)), ("::1", ("::1", 7000)),
    ("2001:db8::7", ("2001:db8::7", 7000)),
])  # fmt: skip
def test_every_address_is_told_to_gunicorn_as_it_is(tmp_path: Path, host: str, bound: tuple[str, int]) -> None:
    assert Server(Settings(tmp_path), host, 7000).cfg.address == [bound]


# Ways to write every address of this machine, and one that others reach.
REACHED_BY_OTHERS = ("0.0.0.0", "0", "0x0", "000.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "::ffff:0:0")


@pytest.mark.parametrize("host", REACHED_BY_OTHERS)
def test_no_way_to_write_it_gets_around_the_accounts(tmp_path: Path, host: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    arguments = ("--port", "0", "--data-dir", str(tmp_path))
    for said in (
        refusal("--host", host, *arguments),
        attempt(*arguments, environment={"LAYERSCOPE_HOST": host}).stderr,
    ):
        assert "layerscope user add NAME" in said


@pytest.mark.parametrize(
    "host", ["nowhere.invalid", "unix:/tmp/socket", "fd://0", "127.0.0.1,0.0.0.0", "[::]", "127.0.0.1:80"]
)
def test_what_is_no_address_is_not_listened_to(tmp_path: Path, host: str) -> None:
    arguments = ("--port", "0", "--data-dir", str(tmp_path))
    for said in (
        refusal("--host", host, *arguments),
        attempt(*arguments, environment={"LAYERSCOPE_HOST": host}).stderr,
    ):
        assert "cannot be served" in said


def test_a_name_of_which_one_address_is_reached_by_others_is_reached_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of them is listened to, who answers for the name decides anew each time."""
    addresses = {"127.0.0.1": ["127.0.0.1"], "mine.test": ["127.0.0.1", "::1"], "ours.test": ["127.0.0.1", "192.0.2.1"]}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *_, **__: [(0, 0, 0, "", (address, 0)) for address in addresses[host]]
    )
    assert [_is_loopback(host) for host in addresses] == [True, True, False]


@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--host", "::"], ["--behind-proxy"]], ids=" ".join)
def test_others_are_not_served_while_nobody_has_an_account(tmp_path: Path, options: list[str]) -> None:
    said = refusal(*options, "--port", "0", "--data-dir", str(tmp_path))
    assert "layerscope user add NAME" in said


def test_damaged_accounts_open_no_door(tmp_path: Path) -> None:
    (tmp_path / "accounts.sqlite").write_text("This is a text, and longer than the header of a database. " * 10)
    said = refusal("--port", "0", "--data-dir", str(tmp_path))
    assert "accounts.sqlite cannot be used: file is not a database. Put a copy of it in its place" in said
