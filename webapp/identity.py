"""Who asks, and what they may do: the session or token of a request, and the one place that decides about a job."""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from flask import Flask, Response, g, request
from werkzeug.wrappers import Request

from jobs.errors import EnvironmentFault, LayerscopeError
from jobs.store import JobRecord
from webapp.accounts import NAME, Accounts, Credential, CredentialKind, Role, checked_name
from webapp.services import Services, services

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

SESSION_COOKIE = "layerscope_session"
# DIGITS's cookie. Where there are no accounts it says who makes a job, and lets in nobody.
LABEL_COOKIE = "username"

# What is answered without a session or token where people have accounts. Everything else is not.
OPEN_ENDPOINTS = frozenset({"static", "login.show", "login.log_in", "home.health"})

LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


class LoginNeeded(LayerscopeError):
    """There are accounts here, and the request carries no session or token that is good."""


@dataclass(frozen=True)
class Visitor:
    """Who asks. Where nobody has an account there is no credential: everybody may do everything, and the name is a label
    that people give themselves."""

    name: str | None
    credential: Credential | None

    @property
    def reader(self) -> str | None:
        """Whose private jobs belong into lists for this visitor; None: everything does."""
        return self.credential.user.name if self.credential else None

    @property
    def is_admin(self) -> bool:
        return self.credential is None or self.credential.user.role is Role.ADMIN

    @property
    def session(self) -> Credential | None:
        """The session by which a person is here, and no program with a token."""
        is_session = self.credential is not None and self.credential.kind is CredentialKind.SESSION
        return self.credential if is_session else None


def may_read(visitor: Visitor, job: JobRecord) -> bool:
    return visitor.reader is None or not job.private or job.owner == visitor.name


def may_change(visitor: Visitor, job: JobRecord) -> bool:
    return may_read(visitor, job) and (visitor.is_admin or job.owner == visitor.name)


def identify(asked: Request, service: Services) -> Visitor:
    """Who sent the request; LoginNeeded where that must be known and is not."""
    if not service.login_is_needed():
        label = asked.cookies.get(LABEL_COOKIE, "")
        return Visitor(label if NAME.fullmatch(label) else None, None)
    credential = _credential(asked, service.accounts)
    if credential is None:
        raise LoginNeeded("You are not logged in, or not any more.")
    try:
        service.accounts.note_use(credential)
    except EnvironmentFault as error:
        # A full disk must keep nobody from the pages on which jobs are deleted.
        log.warning("The last use of a session could not be noted. %s", error)
    return Visitor(credential.user.name, credential)


def _credential(asked: Request, accounts: Accounts) -> Credential | None:
    authorization = asked.authorization
    # A proxy's own, such as Basic, is no business of ours.
    if authorization is not None and authorization.type == "bearer":
        return accounts.credential(CredentialKind.TOKEN, authorization.token or "")
    return accounts.credential(CredentialKind.SESSION, asked.cookies.get(SESSION_COOKIE, ""))


def visitor() -> Visitor:
    """Who sent the current request; LoginNeeded where that must be known and is not."""
    if "visitor" not in g:
        g.visitor = identify(request, services())
    return cast("Visitor", g.visitor)


def known_visitor() -> Visitor | None:
    """The same for pages that everybody may see."""
    try:
        return visitor()
    except LoginNeeded:
        return None


def maker() -> str | None:
    """Whose the job is that the current request makes. Without accounts, clients of DIGITS say it in the form."""
    who = visitor()
    label = "" if who.credential else request.values.get("username", "")
    return checked_name(label) if label else who.name


def is_local_path(path: str) -> bool:
    """Whether a browser that is sent there stays on this site."""
    return LOCAL_PATH.fullmatch(path) is not None


def install(app: Flask) -> None:
    """Let nobody in who is not known, but to what is named as open: a view that is new is closed."""

    @app.before_request
    def _admit() -> None:
        if request.endpoint not in OPEN_ENDPOINTS:
            visitor()

    @app.after_request
    def _keep_apart(response: Response) -> Response:
        # What a browser has kept for one person is not for the next one who sits there.
        if services().login_is_needed() and request.endpoint != "static":
            response.vary.add("Cookie")
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class SocketDoor:
    """WSGI middleware: Socket.IO answers before Flask sees a request, so that it is here that one is asked for a login.

    Only the first request of a connection is: its answer has the id by which the others are known, and clients send them
    without their header. When the login ends the connection is closed (`webapp.live`).
    """

    def __init__(self, app: "WSGIApplication", service: Services) -> None:
        self._app = app
        self._service = service

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # Read as engine.io reads it: a blank id is none.
        is_first = "sid" not in parse_qs(environ.get("QUERY_STRING", ""))
        if is_first and environ["PATH_INFO"].startswith("/socket.io"):
            try:
                identify(Request(environ), self._service)
            except LoginNeeded as error:
                return Response(json.dumps({"error": {"message": str(error)}}), HTTPStatus.UNAUTHORIZED,
                                mimetype="application/json")(environ, start_response)  # fmt: skip
        return self._app(environ, start_response)
