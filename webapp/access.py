"""Who may ask: the Host allow-list and the Origin check, in front of everything, Socket.IO too."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def host_name(host: str) -> str:
    """A Host header without its port."""
    return host if host.endswith("]") else host.rsplit(":", 1)[0]


class AccessCheck:
    """WSGI middleware. A page of another site can neither reach this server under a name of its own (DNS rebinding)
    nor make a visitor's browser change something here (cross-site requests, cross-site sockets)."""

    def __init__(self, app: "WSGIApplication", allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._allowed_hosts = frozenset(allowed_hosts)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if host_name(host) not in self._allowed_hosts:
            known = ", ".join(sorted(self._allowed_hosts))
            return _refuse(start_response, "421 Misdirected Request",
                           f"This server does not answer to the name {host_name(host)!r}. It answers to: {known}. "
                           "Start it with --allow-host to add a name.")  # fmt: skip
        if self._changes_something(environ) and not self._comes_from_here(environ, host):
            return _refuse(start_response, "403 Forbidden",
                           "This request comes from a page of another site. Open Layerscope itself and try again.")  # fmt: skip
        return self._app(environ, start_response)

    @staticmethod
    def _changes_something(environ: "WSGIEnvironment") -> bool:
        # A socket's handshake is a GET, and what follows it is not.
        return environ["REQUEST_METHOD"] not in SAFE_METHODS or environ["PATH_INFO"].startswith("/socket.io")

    @staticmethod
    def _comes_from_here(environ: "WSGIEnvironment", host: str) -> bool:
        """Browsers say where a request comes from; a client that says nothing is no browser, and holds no visitor's rights."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None:
            return urlsplit(origin).netloc == host
        return environ.get("HTTP_SEC_FETCH_SITE", "none") in ("same-origin", "none")


def _refuse(start_response: Callable[..., Any], status: str, message: str) -> list[bytes]:
    body = json.dumps({"error": {"message": message, "type": status.split(" ", 1)[1]}}).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
