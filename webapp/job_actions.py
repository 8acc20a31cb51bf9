"""What a person can do with any job: follow, rename, annotate, clone, abort, pause, resume, train longer, delete."""

import os
import re
from collections.abc import Callable
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path

from flask import Blueprint, Response, abort, jsonify, redirect, request, send_file, url_for
from flask.typing import ResponseReturnValue

from jobs.attributes import Attributes, keep_attributes
from jobs.errors import LayerscopeError, NoSuchJob, Refused, UserError
from jobs.events import read_events
from jobs.folder import JobFolder
from jobs.reading import readers_of, reads_private
from jobs.registry import job_kind, parse_spec
from jobs.training.plan import Extension
from webapp.errors import FormErrors, wants_json
from webapp.forms import parse, sent_values
from webapp.identity import visitor
from webapp.job_view import JobView, changeable, goes_on_in_words, job_view, status_of
from webapp.services import services

blueprint = Blueprint("job_actions", __name__)

# What a job publishes for its page. Anything else in its folder stays where it is.
PUBLISHED_FILES = {"mean.jpg": "image/jpeg"}
LOG_PAGE_BYTES = 100_000
EVENTS_PAGE_BYTES = 1_000_000
TYPE = re.compile(r"[a-z_]{1,40}")
EDITABLE = ("job_name", "job_notes", "private")


@blueprint.get("/jobs/<job_id>")
def show(job_id: str) -> ResponseReturnValue:
    return redirect(job_view(job_id).url)


@blueprint.get("/jobs/<job_id>/status")
@blueprint.get("/datasets/<job_id>/status")
@blueprint.get("/models/<job_id>/status")
def status(job_id: str) -> ResponseReturnValue:
    """DIGITS answered an unknown id with 200 here, and its clients rely on it."""
    try:
        job = job_view(job_id)
    except NoSuchJob:
        return jsonify(error="Job not found.")
    return jsonify(error=None, status=job.status, name=job.name, type=job.title, cause=job.cause, remark=job.remark)


@blueprint.get("/jobs/<job_id>/events")
def events(job_id: str) -> ResponseReturnValue:
    """Events from byte `since` on, up to byte `until` where one is given.

    `without` names types that are left out, `latest` types of which the last of an answer is enough, with commas.
    """
    # Read after the state, so that a job that has ended has told all.
    state = status_of(job_view(job_id))
    without, latest = _types("without"), _types("latest")
    until = _offset("until") if "until" in request.args else None
    path = services().scheduler.folder(job_id).events
    page = read_events(path, _offset("since"), EVENTS_PAGE_BYTES, without, latest, until)
    return jsonify(events=page.events, since=page.since, next=page.next, more=page.more, status=state)


@blueprint.get("/jobs/<job_id>/log")
def log(job_id: str) -> ResponseReturnValue:
    """The worker's output from byte `since` on; without it, the last of it. `download=1` sends the whole file."""
    folder = job_view(job_id).folder
    if request.args.get("download"):
        file = _to_send(folder, folder.log)
        return send_file(file, mimetype="text/plain", as_attachment=True, download_name=f"{job_id}.log")
    if not folder.log.exists():
        return jsonify(text="", next=0, size=0)
    with _to_send(folder, folder.log) as file:
        size = os.fstat(file.fileno()).st_size
        asked = _offset("since") if "since" in request.args else None
        # A log that is shorter than what was read of it was cut since: its end is news.
        since = asked if asked is not None and asked <= size else max(0, size - LOG_PAGE_BYTES)
        file.seek(since)
        content = file.read(LOG_PAGE_BYTES)
    return jsonify(text=content.decode(errors="replace"), next=since + len(content), size=size)


def _to_send(folder: JobFolder, path: Path) -> BufferedReader:
    """A file that the job's worker wrote; 404 where there is none, or something else in its place."""
    try:
        return folder.open(path)
    except OSError as error:
        abort(HTTPStatus.NOT_FOUND, f"The job's file {path.name} cannot be sent: {error.strerror}.")


def _offset(name: str) -> int:
    offset = request.args.get(name, default=0, type=int)
    if not 0 <= offset < 2**63:
        abort(HTTPStatus.BAD_REQUEST, f"The offset `{name}` must be a number of bytes, 0 or more.")
    return offset


def _types(name: str) -> list[str]:
    """Types of events."""
    types = [given for given in request.args.get(name, "").split(",") if given]
    if not all(TYPE.fullmatch(given) for given in types):
        abort(
            HTTPStatus.BAD_REQUEST, f"`{name}` must be types of events with commas between them, such as train,usage."
        )
    return types


@blueprint.get("/jobs/<job_id>/files/<name>")
def file(job_id: str, name: str) -> ResponseReturnValue:
    job = job_view(job_id)
    if name not in PUBLISHED_FILES:
        abort(HTTPStatus.NOT_FOUND, f"The job publishes no file {name!r}.")
    return send_file(_to_send(job.folder, job.folder.path / name), mimetype=PUBLISHED_FILES[name])


@blueprint.put("/jobs/<job_id>")
@blueprint.put("/datasets/<job_id>")
@blueprint.put("/models/<job_id>")
def edit(job_id: str) -> ResponseReturnValue:
    """Rename (`job_name`), annotate (`job_notes`), or say who may see it (`private`)."""
    with services().scheduler.turn:
        job = changeable(job_id)
        sent = {name: str(value) for name, value in sent_values().items()}
        if not sent or not sent.keys() <= set(EDITABLE):
            found = ", ".join(sorted(sent)) or "nothing"
            raise UserError(f"A job's {', '.join(EDITABLE)} can be changed; what was sent: {found}.")
        name = sent.get("job_name", job.name).strip()[:200]
        if not name:
            raise UserError("name cannot be blank")  # the words of DIGITS
        notes = sent.get("job_notes", job.notes).strip()[:10_000]
        private = sent.get("private", str(int(job.private))) in ("1", "True")
        if private != job.private:
            _check_sharing(job, private)
        keep_attributes(job.folder, Attributes(name=name, notes=notes, owner=job.owner, private=private))
        services().store.edit(job_id, name, notes, private)
        # In the order of the changes: what was public before must not be told after it.
        services().scheduler.listeners.tell_change(job_id, "attribute")
        if private and not job.private:
            services().scheduler.listeners.tell_change(job_id, "private")
    return _sentence(f"{job.title} updated.")


def _check_sharing(job: JobView, private: bool) -> None:
    """Raise Refused where the job cannot be made private or public: what reads a private job is private and its owner's,
    too, since its pages show what it reads."""
    store, jobs_dir, what = services().store, services().settings.jobs_dir, "private" if private else "public"
    if visitor().reader is None or job.owner != visitor().name:
        raise Refused(f'Cannot make "{job.name}" {what}: that is for its owner to do, who has an account.')
    if private:
        readers = readers_of(job.id, store, jobs_dir)
        seen = [reader for reader in readers if not reader.private or reader.owner != job.owner]
        if seen:
            names = ", ".join(reader.words_for(job.record) for reader in seen)
            raise Refused(
                f'Cannot make "{job.name}" private, because what reads it is not yours or not private: {names}.'
            )
    elif reads_private(parse_spec(job.spec), store, jobs_dir):
        raise Refused(f'Cannot make "{job.name}" public: what it reads is private. Make that public first.')


@blueprint.delete("/jobs/<job_id>")
@blueprint.delete("/datasets/<job_id>")
@blueprint.delete("/models/<job_id>")
def delete(job_id: str) -> ResponseReturnValue:
    _delete(job_id)
    return _sentence("Job deleted.")


def _delete(job_id: str) -> None:
    changeable(job_id)
    # Who answers for it reads its folder.
    services().predictions.forget(job_id)
    services().explorations.forget(job_id)
    services().scheduler.delete(job_id)
    services().forget_curve(services().scheduler.folder(job_id).events)


@blueprint.post("/jobs/<job_id>/abort")
@blueprint.post("/datasets/<job_id>/abort")
@blueprint.post("/models/<job_id>/abort")
def abort_one(job_id: str) -> ResponseReturnValue:
    """`to_delete=1`: only if the job can be deleted then, because no other job reads it."""
    _abort(job_id, to_delete=request.form.get("to_delete") == "1")
    return _sentence("Job aborted.")


@blueprint.post("/jobs/<job_id>/pause")
@blueprint.post("/models/<job_id>/pause")
def pause(job_id: str) -> ResponseReturnValue:
    """Stop a training, with a snapshot, until it is resumed; one that waits rests without."""
    services().scheduler.pause(changeable(job_id).id)
    return _sentence("Job paused.")


def _abort(job_id: str, to_delete: bool = False) -> None:
    services().scheduler.abort(changeable(job_id).id, to_delete)


@blueprint.post("/jobs/<job_id>/resume")
@blueprint.post("/models/<job_id>/resume")
def resume(job_id: str) -> ResponseReturnValue:
    """Queue a training that was paused, was aborted or failed once more; it goes on from its newest good snapshot."""
    job = changeable(job_id)
    newest = services().scheduler.resume(job.id)
    return _sentence(f"Job resumed. {goes_on_in_words(newest.manifest() if newest else None, job.record)}")


@blueprint.post("/jobs/<job_id>/train-longer")
@blueprint.post("/models/<job_id>/train-longer")
def train_longer(job_id: str) -> ResponseReturnValue:
    """Let a training that is done go on for so many more `epochs`, at another `learning_rate` or at its last one."""
    job = changeable(job_id)
    extension, errors = parse(Extension, sent_values(), services().settings.paths)
    if extension is None:
        raise FormErrors(errors)
    newest = services().scheduler.train_longer(job.id, extension)
    return _sentence(f"Job trains longer. {goes_on_in_words(newest.manifest(), job.record)}")


@blueprint.delete("/jobs")
def delete_many() -> ResponseReturnValue:
    """Delete `job_ids[]`: the newest first, so that models go before the datasets that they read."""
    faults = _for_each(_named_newest_first(), _delete)
    return _sentence("Jobs deleted.") if not faults else _refused(faults)


def _named_newest_first() -> list[str]:
    wanted = set(request.form.getlist("job_ids[]"))
    newest_first = services().store.newest_first(wanted)
    return [*newest_first, *sorted(wanted.difference(newest_first))]


@blueprint.post("/jobs/check-deletion")
def check_deletion() -> ResponseReturnValue:
    """Which would go if `job_ids[]` were deleted, and in sentences why others would stay. Nothing is done."""
    deleted: dict[str, None] = {}

    def delete_in_mind(job_id: str) -> None:
        services().scheduler.refuse_if_read(changeable(job_id).record, deleted.keys())
        deleted[job_id] = None

    faults = _for_each(_named_newest_first(), delete_in_mind)
    return jsonify(faults=faults, deleted=list(deleted))


@blueprint.post("/abort_jobs")
def abort_many() -> ResponseReturnValue:
    faults = _for_each(request.form.getlist("job_ids[]"), _abort)
    return _sentence("Jobs aborted.") if not faults else _refused(faults)


def _refused(faults: list[str]) -> ResponseReturnValue:
    if wants_json():
        return jsonify(faults=faults), HTTPStatus.BAD_REQUEST
    return " ".join(faults), HTTPStatus.BAD_REQUEST


def _for_each(job_ids: list[str], act: Callable[[str], None]) -> list[str]:
    """Act on each job; what could not be done, in sentences."""
    faults = []
    for job_id in job_ids:
        try:
            act(job_id)
        except LayerscopeError as error:
            faults.append(str(error))
    return faults


@blueprint.route("/clone/<job_id>", methods=["GET", "POST"])
def clone(job_id: str) -> ResponseReturnValue:
    """The "new" page of the job's kind, filled with what the job was asked."""
    kind = job_kind(job_view(job_id).kind)
    return redirect(url_for(f"{kind.family}s.new", url=kind.url, clone=job_id))


def _sentence(text: str) -> Response:
    return Response(text, mimetype="text/plain")
