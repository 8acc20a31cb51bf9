"""A small Internet of this machine's own, and a way to fetch from it that is the product's but for what counts as public."""

import ssl
import threading
import time
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from jobs.storage.images import as_image, encode
from tests.unit.storage_jobs import picture
from webapp.image_url import Address, ImagesOfTheWeb

PUBLIC, INSIDE = "127.0.0.2", "127.0.0.1"
PICTURE = encode(as_image(picture(1)), "png")
CERTIFICATE = Path(__file__).with_name("pictures_example.pem")


class Web(BaseHTTPRequestHandler):
    """Answers by its path. It stands for the Internet on PUBLIC, and for a service of the local network on INSIDE."""

    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.connection.getsockname()[0], self.headers["Host"]))
        parts = urlsplit(self.path)
        with suppress(OSError):
            if parts.path == "/redirect":
                self._head(302, Location=parts.query)
            elif parts.path == "/slow-head":
                self._drip(b"X-Slow: 1\r\n", 0.01)
            elif parts.path in ("/slow", "/endless"):
                self._head(200)
                self._drip(b"x" * (1 if parts.path == "/slow" else 2**16), 0.01 if parts.path == "/slow" else 0)
            elif parts.path == "/large":
                self._head(200, **{"Content-Length": str(2**40)})
                self._drip(bytes(2**16), 0)
            elif parts.path == "/none":
                self._head(404)
            else:
                self._head(200)
                self.wfile.write(PICTURE)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _drip(self, part: bytes, pause: float) -> None:
        """Send without an end; the other side ends it."""
        if self.path == "/slow-head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            part = b"x"
        while True:
            self.wfile.write(part)
            time.sleep(pause)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Internet:
    """A server on every loopback address, and what it was asked: on which address, and for which host."""

    def __init__(self, tls: bool = False) -> None:
        self.seen: list[tuple[str, str | None]] = []
        handler = type("Handler", (Web,), {"seen": self.seen})
        self._server = ThreadingHTTPServer(("0.0.0.0", 0), handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def web(*answers: str, **changes: object) -> ImagesOfTheWeb:
    """Fetches as the product does, but that PUBLIC counts as the Internet; names resolve to one answer after the other."""
    left = list(answers or [PUBLIC])

    def addresses_of(host: str, port: int) -> list[str]:
        return (left.pop(0) if len(left) > 1 else left[0]).split()

    def is_allowed(address: Address) -> bool:
        return address == ip_address(PUBLIC)

    made = ImagesOfTheWeb(is_allowed=is_allowed, addresses_of=addresses_of, seconds=60)
    return replace(made, **changes)  # type: ignore[arg-type]
