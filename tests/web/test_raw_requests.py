"""Request lines that no client of ours would send, to a real gunicorn; and what others write in the server's log."""

import re
import socket
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import RunningServer, end_jobs, save_digits, start_server
from tests.web import payloads

SECRETS = (b"root:", b"SQLite format", b"[project]", b'"kind"', b"[INFO]")
# A step up, and the next folder behind it, as some servers have read them.
STEPS = (
    b"../", b"..%2f", b"..%2F", b"%2e%2e/", b"%2e%2e%2f", b"%252e%252e%252f", b"%25%32%65%25%32%65/", b"..;/", b"..;a=b/",
    b"..\\", b"..%5c", b"..%255c", b"..%00/", b"..%0d%0a/", b"%c0%ae%c0%ae/", b"..%c0%af", b"%e0%80%ae%e0%80%ae%e0%80%af",
    b"..%ef%bc%8f", b"%uff0e%uff0e%u2215", b"..%u2215", b"....//", b".../...//", b".%2e/", b"./.././", b"..//", b"..%09/",
    b"\xc0\xae\xc0\xae/", b"..\xc0\xaf", b"\xef\xbc\x8e\xef\xbc\x8e/",
)  # fmt: skip
TARGETS = (b"etc/passwd", b"layerscope.sqlite", b"pyproject.toml", b"spec.json", b"server.log")
# What is no path that begins with one stroke.
LINES = (
    b"/etc/passwd", b"//etc/passwd", b"file:///etc/passwd", b"http://%(host)s/../../etc/passwd", b"http:/etc/passwd", b"*",
    b"http://evil.example/index.json", b"http://%(host)s@evil.example/etc/passwd", b"\\\\etc\\passwd", b"etc/passwd", b"",
    b"/static//etc/passwd", b"/static/%%2fetc%%2fpasswd", b"/static/%%00", b"/static/main.js%%00.png", b"/static/\0", b"?",
    b"/jobs/%(job)s%%2f..%%2f..%%2flayerscope.sqlite", b"/jobs/..%%2f%(job)s/files/spec.json", b"/jobs/%(job)s/files/spec.json",
    b"/jobs/%(job)s/files/mean.jpg/../spec.json", b"/jobs/%(job)s/files/;/spec.json", b"#",
    b"/jobs/%(job)s/files/mean.jpg%%00spec.json", b"/models/%(job)s/frames/../../spec.json",
    b"/models/%(job)s/frames/%%2e%%2e%%2fspec.json",
    b"http://[::1/", b"http://%(host)s",
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, str]]:
    """A server with a dataset of its own making, and the id of a generic dataset of that."""
    root = tmp_path_factory.mktemp("raw")
    digits = save_digits(root / "digits", 30)
    server = start_server(root / "data", root)

    def make(url: str, form: dict[str, str]) -> str:
        job_id = str(requests.post(f"{server.url}/datasets/images/{url}.json", data=form, timeout=60).json()["id"])
        assert server.wait_for_job(job_id)["status"] == "Done"
        return job_id

    classification = make("classification", payloads.classification(digits))
    yield server, make("generic", payloads.generic(root / "data" / "jobs" / classification))
    end_jobs(server)
    server.stop()


def answer_to(server: RunningServer, line: bytes, host: bytes = b"") -> bytes:
    """All that the server says to such a request line."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port or 0), 60) as connection:
        connection.sendall(line + b"\r\nHost: " + (host or place.netloc.encode()) + b"\r\nConnection: close\r\n\r\n")
        said = b""
        while received := connection.recv(65_536):
            said += received
    return said


def is_harmless(said: bytes) -> bool:
    """Whether it is a refusal, a page of ours, or leads to one."""
    if not said:
        return True
    status = int(said.split(b" ", 2)[1])
    place = re.search(rb"\r\nLocation: ([^\r]*)", said)
    leads_here = place is None or re.match(rb"(http://127\.0\.0\.1:\d+)?/(?![/\\])", place[1]) is not None
    return status < 500 and leads_here and not any(secret in said for secret in SECRETS)


def test_no_request_line_leads_out_of_what_is_served(served: tuple[RunningServer, str]) -> None:
    server, job = served
    names = {b"host": urlsplit(server.url).netloc.encode(), b"job": job.encode()}
    folders = (
        b"/static/",
        b"/static/dist/",
        b"/jobs/%(job)s/files/",
        b"/models/%(job)s/frames/",
        b"http://%(host)s/static/",
        b"/",
    )
    paths = [line % names for line in LINES]
    paths += [
        folder % names + step * times + target
        for folder, step, target, times in product(folders, STEPS, TARGETS, (1, 2, 9))
    ]
    for path in paths:
        said = answer_to(server, b"GET " + path + b" HTTP/1.1")
        assert is_harmless(said), (path, said[:500])
    assert requests.get(f"{server.url}/health", timeout=60).ok


@pytest.mark.parametrize("line", [
    b"GET /index.json", b"GET /index.json HTTP/0.9", b"GET /index.json HTTP/9.9", b"\0\0\0", b"GET  /index.json  HTTP/1.1",
    b"GET\t/index.json\tHTTP/1.1", b" GET /index.json HTTP/1.1", b"GET /" + b"a" * 100_000 + b" HTTP/1.1", b"\x16\x03\x01\x02",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n", b"GET / HTTP/1.1\r\nHost : 127.0.0.1", b"GET / HTTP/1.1\r\n Folded: yes",
    b"CONNECT 127.0.0.1:22 HTTP/1.1", b"GE\x1b[31mT / HTTP/1.1",
])  # fmt: skip
def test_what_is_no_request_is_refused(served: tuple[RunningServer, str], line: bytes) -> None:
    server, _ = served
    assert is_harmless(answer_to(server, line))
    assert requests.get(f"{server.url}/health", timeout=60).ok


@pytest.mark.parametrize("path", [b"http://127.0.0.1/index.json", b"http://localhost/index.json"])
def test_an_address_in_the_request_line_is_no_name_of_the_server(
    served: tuple[RunningServer, str], path: bytes
) -> None:
    """By the Host header it is judged, whatever name stands in front of it."""
    server, _ = served
    assert b" 421 " in answer_to(server, b"GET " + path + b" HTTP/1.1", host=b"evil.example")[:20]


FAKE = "[2026-01-01 00:00:00 +0000] [1] [INFO] admin logged in"
# What terminals obey, what begins a line, and what turns the direction of writing.
INJECTED = f"\x1b]0;owned\x07\x1b[2J\x1b[31m\r{FAKE}\n{FAKE}\r\n{FAKE}\x0b{FAKE}\x85{FAKE}\u2028{FAKE}\u202e\x9b31m\x00"
PRINTS_AND_FAILS = f"""
import os, sys
print({INJECTED!r}, flush=True)
print({INJECTED!r}, file=sys.stderr, flush=True)
os._exit(3)
"""
RAISES = f"raise ValueError({INJECTED!r})"
NAMES_A_LAYER = f"""
from torch import nn

class Odd(nn.Module):
    def forward(self, images):
        raise RuntimeError({INJECTED!r})

Odd.__name__ = Odd.__qualname__ = {INJECTED!r}

def build_network(parameters):
    return Odd()
"""


def lines_of(log: Path) -> list[str]:
    return log.read_bytes().decode().split("\n")


@pytest.mark.parametrize("network", [PRINTS_AND_FAILS, RAISES, NAMES_A_LAYER], ids=["prints", "raises", "names"])
def test_what_a_network_prints_is_no_line_of_the_servers_log(served: tuple[RunningServer, str], network: str) -> None:
    server, generic = served
    before = len(lines_of(server.log))
    form = {"dataset": generic, "framework": "pytorch", "custom_network": network}
    answer = requests.post(
        f"{server.url}/models/visualize-network", data=form, headers={"Accept": "application/json"}, timeout=60
    )
    assert answer.status_code == 400
    written = lines_of(server.log)[before - 1 :]
    if network == PRINTS_AND_FAILS:
        assert any("A network check failed; it said last" in line for line in written)
        assert any(r"\x1b[2J\x1b[31m\r" in line for line in written), "it can be read all the same"
    assert_is_plain(written)


def test_what_is_asked_for_is_no_line_of_the_servers_log(served: tuple[RunningServer, str]) -> None:
    server, job = served
    before = len(lines_of(server.log))
    for injected in (INJECTED.encode(), INJECTED.replace("\r", "").replace("\n", "").encode()):
        answer_to(server, b"GET /" + injected + b" HTTP/1.1")
        answer_to(server, b"GET / HTTP/1.1\r\nX" + injected + b": 1")
        answer_to(server, b"GE" + injected + b" / HTTP/1.1")
        answer_to(server, b"GET / HTTP/1.1", host=injected)
    requests.post(f"{server.url}/login", data={"username": INJECTED}, timeout=60)
    requests.get(f"{server.url}/jobs/{job}/files/{INJECTED}", timeout=60)
    assert_is_plain(lines_of(server.log)[before - 1 :])


def assert_is_plain(lines: list[str]) -> None:
    """Whether every line is one that the server itself began, or stands further in."""
    for line in lines:
        assert not line.startswith(FAKE[:12]), line
        assert all(character.isprintable() or character == "\t" for character in line), ascii(line)
