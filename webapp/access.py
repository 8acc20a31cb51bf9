"""Who may ask, and what a browser may do with an answer: in front of everything, static files and Socket.IO too."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# A name or an address, IPv6 in brackets, and perhaps a port: nothing else can stand in front of what is compared.
HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
ORIGIN = re.compile(r"https?://([^/?#@\\\s]+)")
NOT_SHOWN_IN_FULL = 100

# What is no page of ours is at most looked at: it runs nothing, loads nothing, and has no origin of its own.
POLICY_OF_FILES = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
PROTECTIVE_HEADERS = {
    "Content-Security-Policy": POLICY_OF_FILES,
    "X-Content-Type-Options": "nosniff",
    # What browsers without frame-ancestors know.
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{feature}=()" for feature in ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
    ),
}


def policy_of_pages(style_nonce: str | None) -> str:
    """The Content-Security-Policy of an HTML page: scripts from files of ours only, styles too, or with this nonce."""
    styles = "'self'" if style_nonce is None else f"'self' 'nonce-{style_nonce}'"
    return (
        f"default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data: blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def host_name(host: str) -> str | None:
    """A Host header without its port; None when it is none."""
    found = HOST.fullmatch(host.lower())
    return found[1] if found else None


class AccessCheck:
    """WSGI middleware. A page of another site can neither reach this server under a name of its own (DNS rebinding)
    nor make a visitor's browser read or change something here (cross-site requests, cross-site sockets)."""

    def __init__(self, app: "WSGIApplication", allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._allowed_hosts = frozenset(name.lower() for name in allowed_hosts)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response = _with_headers(start_response)
        host = environ.get("HTTP_HOST", "")
        if host_name(host) not in self._allowed_hosts:
            known = ", ".join(sorted(self._allowed_hosts))
            return _refuse(start_response, "421 Misdirected Request",
                           f"This server does not answer to the name {host[:NOT_SHOWN_IN_FULL]!r}. It answers to: {known}. "
                           "Start it with --allow-host to add a name.")  # fmt: skip
        if not _comes_from_here(environ, host):
            return _refuse(start_response, "403 Forbidden",
                           "This request comes from a page of another site. Open Layerscope itself and try again.")  # fmt: skip
        return self._app(environ, start_response)


def _comes_from_here(environ: "WSGIEnvironment", host: str) -> bool:
    """Browsers say where a request comes from; a client that says nothing is no browser, and holds no visitor's rights."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None:
        of_origin = ORIGIN.fullmatch(origin.lower())
        if of_origin is None or of_origin[1] != host.lower():
            return False
    elif "HTTP_COOKIE" in environ and environ.get("HTTP_UPGRADE", "").lower() == "websocket":
        # Every browser names the origin of a page that opens a WebSocket.
        return False
    return environ.get("HTTP_SEC_FETCH_SITE", "none") in ("same-origin", "none") or _is_a_link(environ)


def _is_a_link(environ: "WSGIEnvironment") -> bool:
    """Whether a person follows a link to a page here, in a tab of its own: the site with the link sees nothing of it."""
    return (
        environ["REQUEST_METHOD"] in ("GET", "HEAD")
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
        and not environ["PATH_INFO"].startswith("/socket.io")
    )


def _with_headers(start_response: "StartResponse") -> "StartResponse":
    """`start_response` that adds the protective headers which an answer does not set itself."""

    def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        given = {name.lower() for name, _ in headers}
        added = [(name, value) for name, value in PROTECTIVE_HEADERS.items() if name.lower() not in given]
        return start_response(status, [*headers, *added], *error)

    return start


def _refuse(start_response: Callable[..., Any], status: str, message: str) -> list[bytes]:
    body = json.dumps({"error": {"message": message, "type": status.split(" ", 1)[1]}}).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
