"""Pages of a model as the server sees them, in a process of their own: `python -m tests.benchmarks.open_pages URL JOB COUNT`.

Each is a socket in the job's room that asks for what `static/js/pages/model.js` asks for, without a browser's work of drawing:
that is done on the visitors' machines. They are open from the line "open" on until the standard input ends.
"""

import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import websocket

from tests.benchmarks.bench import REPOSITORY

FRAME = b'"type":"frame"'


class OpenPage:
    """Engine.IO and Socket.IO by hand: a client library would cost more than what it stands for."""

    def __init__(self, url: str, job_id: str) -> None:
        self._url = url
        self._job_id = job_id
        self._http = requests.Session()
        self._frames = 0
        address = f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
        self.socket = websocket.create_connection(address, skip_utf8_validation=True, origin=url)
        self.socket.recv()
        self.socket.send("40/jobs,")
        self.socket.recv()
        self.socket.send(f'42/jobs,0["join",{{"room":"{job_id}"}}]')
        for path in ("", "/curve.json"):
            self._http.get(f"{url}/models/{job_id}{path}", timeout=30)

    def hear(self) -> None:
        _, message = self.socket.recv_data()
        if message == b"2":
            self.socket.send("3")
        elif FRAME in message:
            self._frames += 1
            self._http.get(f"{self._url}/models/{self._job_id}/frames/{self._frames}.json", timeout=30)


def main(url: str, job_id: str, count: int) -> None:
    pages = [OpenPage(url, job_id) for _ in range(count)]
    print("open", flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for page in pages:
            selector.register(page.socket, selectors.EVENT_READ, page)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    return
                key.data.hear()


@contextmanager
def open_pages(url: str, job_id: str, count: int) -> Iterator[None]:
    """So many visitors, for as long as the block lasts."""
    if count == 0:
        yield
        return
    command = [sys.executable, "-m", "tests.benchmarks.open_pages", url, job_id, str(count)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        if process.stdout.readline() != b"open\n":
            raise RuntimeError("The pages could not be opened.")
        yield
        process.stdin.close()
    if process.returncode:
        raise RuntimeError("A page that was open has lost its server.")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
