"""`layerscope serve` where it cannot serve: a sentence and an exit status, at once."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.conftest import RunningServer


def refusal(*arguments: str) -> str:
    """What a server that does not start says."""
    command = [sys.executable, "-m", "webapp.cli", "serve", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    return ended.stderr


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
    assert requests.get(f"{server.url}/index.json", timeout=10).ok


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_others_are_not_served_while_nobody_has_an_account(tmp_path: Path, host: str) -> None:
    said = refusal("--host", host, "--port", "0", "--data-dir", str(tmp_path))
    assert "layerscope user add NAME" in said


def test_damaged_accounts_open_no_door(tmp_path: Path) -> None:
    (tmp_path / "accounts.sqlite").write_text("This is a text, and longer than the header of a database. " * 10)
    said = refusal("--port", "0", "--data-dir", str(tmp_path))
    assert "accounts.sqlite cannot be used: file is not a database. Put a copy of it in its place" in said
