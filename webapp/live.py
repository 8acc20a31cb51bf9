"""A job's Socket.IO room: passes on what the scheduler hears. What it sends can be read again from `/jobs/<id>/events`."""

from typing import Any

from flask import Flask
from flask_socketio import ConnectionRefusedError, Namespace, SocketIO, join_room, leave_room

from jobs.errors import NoSuchJob
from jobs.events import EventPage
from jobs.scheduler import Scheduler
from webapp.job_view import job_view, status_of, table_row
from webapp.services import services

NAMESPACE = "/jobs"
HOME_ROOM = "job_management"


def _rooms(job_id: str, what: str) -> tuple[str, ...]:
    """Who wants to hear of a change: a job's own page has its progress from its events, and only it follows the remarks."""
    if what == "remark":
        return (job_id,)
    return (HOME_ROOM,) if what in ("added", "progress") else (job_id, HOME_ROOM)


def _details(job_id: str, what: str) -> dict[str, Any]:
    """What a page would have to ask for otherwise, each of a hundred open ones."""
    if what == "progress":
        return {"row": table_row(services().store.listed_job(job_id))}
    return status_of(job_view(job_id)) if what in ("status", "remark", "attribute") else {}


class JobsNamespace(Namespace):  # type: ignore[misc]
    """Client events of `/jobs`, by DIGITS's names."""

    def on_connect(self, auth: Any = None) -> None:
        # Their own socket is one of them by now.
        if sum(1 for _ in self.server.manager.get_participants(NAMESPACE, None)) > services().settings.most_sockets:
            raise ConnectionRefusedError("So many pages are open that no more can be told live. This one asks instead.")

    def on_join(self, message: dict[str, Any]) -> None:
        join_room(str(message.get("room", "")))

    def on_leave(self, message: dict[str, Any]) -> None:
        leave_room(str(message.get("room", "")))


def install(app: Flask, scheduler: Scheduler) -> SocketIO:
    # Threads and simple-websocket: nothing is monkey-patched beside lmdb and child processes.
    socketio = SocketIO(app, async_mode="threading")
    socketio.on_namespace(JobsNamespace(NAMESPACE))

    def has_listeners(room: str) -> bool:
        return any(True for _ in socketio.server.manager.get_participants(NAMESPACE, room))

    def send_events(job_id: str, page: EventPage) -> None:
        if has_listeners(job_id):
            message = {"job_id": job_id, "since": page.since, "next": page.next, "events": page.events}
            socketio.emit("job events", message, to=job_id, namespace=NAMESPACE)

    def send_change(job_id: str, what: str) -> None:
        rooms = [room for room in _rooms(job_id, what) if has_listeners(room)]
        if not rooms:
            return
        # A page of ours may ask for URLs of the job, and the scheduler's thread has no request.
        with app.test_request_context():
            try:
                update = "status" if what == "remark" else what
                message = {"update": update, "job_id": job_id, **_details(job_id, what)}
            except NoSuchJob:
                return
        socketio.emit("job update", message, to=rooms, namespace=NAMESPACE)

    scheduler.listeners.events.append(send_events)
    scheduler.listeners.changes.append(send_change)
    return socketio
