"""A job's Socket.IO room: passes on what the scheduler hears. What it sends can be read again from `/jobs/<id>/events`."""

from typing import Any

from flask import Flask
from flask_socketio import Namespace, SocketIO, join_room, leave_room

from jobs.errors import NoSuchJob
from jobs.events import EventPage
from jobs.scheduler import Scheduler
from webapp.job_view import job_view, status_of

HOME_ROOM = "job_management"


class JobsNamespace(Namespace):  # type: ignore[misc]
    """Client events of `/jobs`, by DIGITS's names."""

    def on_join(self, message: dict[str, Any]) -> None:
        join_room(str(message.get("room", "")))

    def on_leave(self, message: dict[str, Any]) -> None:
        leave_room(str(message.get("room", "")))


def install(app: Flask, scheduler: Scheduler) -> SocketIO:
    # Threads and simple-websocket: nothing is monkey-patched beside lmdb and child processes.
    socketio = SocketIO(app, async_mode="threading")
    socketio.on_namespace(JobsNamespace("/jobs"))

    def send_events(job_id: str, page: EventPage) -> None:
        message = {"job_id": job_id, "since": page.since, "next": page.next, "events": page.events}
        socketio.emit("job events", message, to=job_id, namespace="/jobs")

    def send_change(job_id: str, what: str) -> None:
        message: dict[str, Any] = {"update": what, "job_id": job_id}
        if what in ("status", "attribute"):
            # A page of ours may ask for URLs of the job, and the scheduler's thread has no request.
            with app.test_request_context():
                try:
                    message |= status_of(job_view(job_id))
                except NoSuchJob:
                    return
            socketio.emit("job update", message, to=job_id, namespace="/jobs")
        if what == "deleted":
            socketio.emit("job update", message, to=job_id, namespace="/jobs")
        socketio.emit("job update", message, to=HOME_ROOM, namespace="/jobs")

    scheduler.listeners.events.append(send_events)
    scheduler.listeners.changes.append(send_change)
    return socketio
