"""A job's Socket.IO room: passes on what the scheduler hears. What it sends can be read again from `/jobs/<id>/events`."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from flask import Flask, request
from flask_socketio import ConnectionRefusedError, Namespace, SocketIO, disconnect, join_room, leave_room

from jobs.errors import NoSuchJob
from jobs.events import EventPage
from jobs.store import JobRecord
from webapp.identity import LoginNeeded, Visitor, may_read, visitor
from webapp.job_view import job_view, status_of, table_row, view_of
from webapp.services import Services, services

log = logging.getLogger(__name__)

NAMESPACE = "/jobs"
HOME_ROOM = "job_management"

# Within about this time the sockets of a session that has ended are closed, whoever ended it.
SECONDS_BETWEEN_LOOKS = 2.0

# A page whose server or network fell silent without a word knows it after both of these.
SECONDS_BETWEEN_PINGS = 4
SECONDS_TO_ANSWER = 5

# Rooms, and what is said in them of a job: made only where somebody listens.
Messages = list[tuple[tuple[str, ...], Callable[[JobRecord], dict[str, Any]]]]


def _row(job: JobRecord) -> dict[str, Any]:
    """The same row for all who may see the job: what others have made of it in private is counted for nobody."""
    everyone = job.owner if job.private else ""
    reader = everyone if services().login_is_needed() else None
    return {"update": "progress", "row": table_row(services().store.listed_job(job.id, reader))}


def _status(job: JobRecord) -> dict[str, Any]:
    return {"update": "status", **status_of(view_of(job))}


def _attributes(job: JobRecord) -> dict[str, Any]:
    return _status(job) | {"update": "attribute"}


def _messages(job: JobRecord, what: str) -> Messages:
    """What is told of a change in which rooms, with what a page would have to ask for otherwise, each of a hundred open
    ones. A job's own page has its progress from its events.
    """
    lists, page = (HOME_ROOM,), (job.id,)
    messages: dict[str, Messages] = {
        "added": [(lists, lambda _: {"update": "added"})],
        "progress": [(lists, _row)],
        "remark": [(lists, _row), (page, _status)],
        "status": [(page + lists, _status)],
        "attribute": [(page + lists, _attributes)],
    }
    return messages[what]


class Audience:
    """Who sits at each open socket, and so who may hear what."""

    def __init__(self, socketio: SocketIO, service: Services) -> None:
        self._server = socketio.server
        self._service = service
        self._lock = threading.Lock()
        self._visitors: dict[str, Visitor] = {}
        self._is_watched = False

    def enter(self, sid: str, who: Visitor) -> None:
        with self._lock:
            self._visitors[sid] = who
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="sockets", daemon=True).start()

    def leave(self, sid: str) -> None:
        with self._lock:
            self._visitors.pop(sid, None)

    def of(self, job: JobRecord, rooms: Sequence[str]) -> list[str]:
        """Where to send what is said of the job: the rooms in which somebody is, or the sockets in them that may hear it."""
        if not job.private:
            return [room for room in rooms if self._sids(room)]
        return [sid for sid, who in self._inside(rooms).items() if may_read(who, job)]

    def turn_out(self, job: JobRecord) -> list[str]:
        """Close the job's room to those who may not read it, and answer who knew of it: there and at the lists."""
        outsiders = [sid for sid, who in self._inside((job.id, HOME_ROOM)).items() if not may_read(who, job)]
        for sid in outsiders:
            self._server.leave_room(sid, job.id, NAMESPACE)
        return outsiders

    def _inside(self, rooms: Sequence[str]) -> dict[str, Visitor]:
        sids = set().union(*(self._sids(room) for room in rooms))
        with self._lock:
            return {sid: self._visitors[sid] for sid in sids & self._visitors.keys()}

    def is_in(self, room: str) -> bool:
        return bool(self._sids(room))

    def _sids(self, room: str) -> set[str]:
        return {sid for sid, _ in self._server.manager.get_participants(NAMESPACE, room)}

    def _watch(self) -> None:
        """Close the sockets of sessions that end, for as long as there are sockets."""
        while not self._service.closing.wait(SECONDS_BETWEEN_LOOKS):
            with self._lock:
                visitors = dict(self._visitors)
                self._is_watched = bool(visitors)
            if not visitors:
                return
            try:
                for sid in self._ended(visitors):
                    self._close(sid)
            except Exception:
                # The next look tries again. While the server closes, the accounts may be closed already.
                if not self._service.closing.is_set():
                    log.exception("The sockets of sessions that have ended could not be closed.")

    def _ended(self, visitors: dict[str, Visitor]) -> list[str]:
        held = {who.credential.id for who in visitors.values() if who.credential}
        good = self._service.accounts.still_good(held)
        login_is_needed = self._service.login_is_needed()
        return [
            sid
            for sid, who in visitors.items()
            if (who.credential.id not in good if who.credential else login_is_needed)
        ]

    def _close(self, sid: str) -> None:
        connection = self._server.manager.eio_sid_from_sid(sid, NAMESPACE)
        self._server.disconnect(sid, namespace=NAMESPACE)
        # Without waiting until the client has taken what was sent to it: it need not.
        if transport := self._server.eio.sockets.get(connection):
            transport.close(wait=False)


class JobsNamespace(Namespace):  # type: ignore[misc]
    """Client events of `/jobs`, by DIGITS's names. Each is asked anew who sends it."""

    def __init__(self, audience: Audience) -> None:
        super().__init__(NAMESPACE)
        self._audience = audience

    def on_connect(self, _auth: object = None) -> None:
        # Their own socket is one of them by now.
        if sum(1 for _ in self.server.manager.get_participants(NAMESPACE, None)) > services().settings.most_sockets:
            raise ConnectionRefusedError("So many pages are open that no more can be told live. This one asks instead.")
        try:
            self._audience.enter(request.sid, visitor())  # type: ignore[attr-defined]
        except LoginNeeded as error:
            raise ConnectionRefusedError(str(error)) from error

    def on_disconnect(self, _reason: object = None) -> None:
        self._audience.leave(request.sid)  # type: ignore[attr-defined]

    def on_join(self, message: dict[str, Any]) -> dict[str, str] | None:
        """Enter a room. That of a job which is not there for this visitor stays closed."""
        room = str(message.get("room", ""))
        try:
            visitor()
            if room != HOME_ROOM:
                job_view(room)
        except LoginNeeded as error:
            # Before the next look at sessions that have ended.
            disconnect()
            return {"error": str(error)}
        except NoSuchJob as error:
            return {"error": str(error)}
        join_room(room)
        return None

    def on_leave(self, message: dict[str, Any]) -> None:
        leave_room(str(message.get("room", "")))


def install(app: Flask, service: Services) -> SocketIO:
    # Threads and simple-websocket: nothing is monkey-patched beside lmdb and child processes.
    socketio = SocketIO(
        app, async_mode="threading", json=app.json, ping_interval=SECONDS_BETWEEN_PINGS, ping_timeout=SECONDS_TO_ANSWER
    )
    audience = Audience(socketio, service)
    socketio.on_namespace(JobsNamespace(audience))

    def send(event: str, message: dict[str, Any], hearers: list[str]) -> None:
        if hearers:
            socketio.emit(event, message, to=hearers, namespace=NAMESPACE)

    def send_events(job_id: str, page: EventPage) -> None:
        if audience.is_in(job_id):
            message = {"job_id": job_id, "since": page.since, "next": page.next, "events": page.events}
            send("job events", message, audience.of(service.store.get(job_id), [job_id]))

    def send_change(job_id: str, what: str) -> None:
        try:
            job = service.store.get(job_id)
        except NoSuchJob:
            return
        if what == "private":
            send("job update", {"update": "private", "job_id": job_id}, audience.turn_out(job))
            return
        # A page of ours may ask for URLs of the job, and the scheduler's thread has no request.
        with app.test_request_context(), suppress(NoSuchJob):
            for rooms, message in _messages(job, what):
                if hearers := audience.of(job, rooms):
                    send("job update", message(job) | {"job_id": job_id}, hearers)

    def send_deletion(job: JobRecord) -> None:
        send("job update", {"update": "deleted", "job_id": job.id}, audience.of(job, (job.id, HOME_ROOM)))

    service.scheduler.listeners.events.append(send_events)
    service.scheduler.listeners.changes.append(send_change)
    service.scheduler.listeners.deletions.append(send_deletion)
    return socketio
