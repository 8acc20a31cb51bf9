"""A job as pages, rows and JSON show it."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask import url_for

from jobs.containment.confinement import REQUIRED
from jobs.errors import NoSuchJob, Refused, UserError
from jobs.folder import JobFolder
from jobs.registry import job_kind
from jobs.statuses import RESUMABLE, Status
from jobs.store import NOT_FOUND, JobRecord, ListedJob
from jobs.training.plan import Extension, ends, read_extensions
from jobs.training.snapshot_files import Manifest, epochs_in_words, newest_step, newest_whole
from webapp.identity import may_change, may_read, visitor
from webapp.services import services


@dataclass(frozen=True)
class Snapshot:
    """One that can be tested: the number of its epoch, and after how many epochs it was taken, in its midst or at its end."""

    epoch: int
    epochs_done: float

    @property
    def words(self) -> str:
        return epochs_in_words(self.epochs_done)


@dataclass(frozen=True)
class JobView:
    """What a job's page needs of it. `times` are (status, unix time) pairs, oldest first."""

    record: JobRecord
    times: list[tuple[str, float]]

    @property
    def folder(self) -> JobFolder:
        return services().scheduler.folder(self.id)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the job was asked. Read when a page needs it: one job whose folder is gone must not break a list of all."""
        try:
            return self.folder.read_spec(self.record.spec_sha256)
        except FileNotFoundError:
            raise NoSuchJob(
                f'The folder of the job "{self.name}" is gone from the data directory. Delete the job on the home page.'
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"The file spec.json in the folder of the job cannot be read: {error}. Make the job anew."
            ) from error

    @property
    def field_titles(self) -> dict[str, str | None]:
        """What the form called each field of the spec."""
        return {name: field.title for name, field in job_kind(self.kind).spec.model_fields.items()}

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def notes(self) -> str:
        return self.record.notes

    @property
    def kind(self) -> str:
        return self.record.kind

    @property
    def title(self) -> str:
        return job_kind(self.record.kind).title

    @property
    def family(self) -> str:
        return self.record.family

    @property
    def status(self) -> str:
        return self.record.status.value

    @property
    def status_css(self) -> str:
        return self.record.status.css

    @property
    def cause(self) -> str | None:
        return self.record.cause

    @property
    def line(self) -> int | None:
        return self.record.cause_line

    @property
    def running(self) -> bool:
        return self.record.status.is_running

    @property
    def can_abort(self) -> bool:
        return self.running or self.record.status is Status.PAUSED

    @property
    def can_pause(self) -> bool:
        return self.running and job_kind(self.record.kind).resumes

    @property
    def can_resume(self) -> bool:
        """Whether it is worth a try to resume it: its snapshots are looked into only then."""
        record = self.record
        if record.status is Status.PAUSED:
            return True
        return record.status in RESUMABLE and job_kind(record.kind).resumes and newest_step(self.folder) > 0

    @property
    def extensions(self) -> tuple[Extension, ...]:
        return read_extensions(self.folder)

    @property
    def epochs(self) -> int:
        """How many epochs a training has, with those that were added when it was done."""
        return ends(self.spec["train_epochs"], self.extensions)[-1]

    @property
    def snapshots(self) -> list[Snapshot]:
        """Those that there are, oldest first. What the job said of them is taken for how far they were: there may be
        thousands, and each has a manifest of its own."""
        partial = self.record.summary.get("partial_snapshots", {})
        return [Snapshot(epoch, partial.get(str(epoch), epoch)) for epoch in self.folder.snapshot_epochs()]

    @property
    def goes_on(self) -> str | None:
        """From where a training would go on that can be resumed or trained longer, in a sentence."""
        if not (self.can_resume or self.can_train_longer):
            return None
        return goes_on_in_words(newest_whole(self.folder), self.record)

    @property
    def can_train_longer(self) -> bool:
        return self.record.status is Status.DONE and job_kind(self.kind).resumes and newest_step(self.folder) > 0

    @property
    def owner(self) -> str | None:
        return self.record.owner

    @property
    def private(self) -> bool:
        return self.record.private

    @property
    def may_change(self) -> bool:
        """Whether whoever asks may."""
        return may_change(visitor(), self.record)

    @property
    def whose(self) -> str:
        """Who may change it, in a sentence for whoever may not."""
        if self.owner is None:
            return "It is from before there were accounts: only admins may change it."
        return f"It is {self.owner}’s: only {self.owner} and admins may change it."

    @property
    def created(self) -> float:
        return self.record.created

    @property
    def elapsed(self) -> float | None:
        """Seconds in which a worker was at it, all runs together."""
        return _rounded(services().store.elapsed(self.id))

    @property
    def seconds_toward_limit(self) -> float:
        """What of these counts towards its time limit."""
        return _rounded(services().store.elapsed_since_end(self.id)) or 0.0

    @property
    def progress(self) -> float:
        """0 to 100."""
        return round(100 * float(self.record.summary.get("progress", 0.0)), 1)

    @property
    def seconds_left(self) -> list[float] | None:
        """At least and at most."""
        left: list[float] | None = self.record.summary.get("seconds_left")
        return left if self.running else None

    @property
    def remark(self) -> str | None:
        return services().scheduler.remark(self.id)

    @property
    def containment(self) -> dict[str, Any] | None:
        """How far the machine was protected from the job's last worker: in two words, what of it, and each protection.

        None where no worker was started, or none has told.
        """
        if self.record.protections is None:
            return None
        protections: list[dict[str, Any]] = json.loads(self.record.protections)
        missing = [protection["name"] for protection in protections if not protection["in_force"]]
        if not missing:
            title, of = "Contained", ", ".join(protection["name"] for protection in protections)
        elif len(missing) == len(protections):
            title, of = "Not contained", ""
        else:
            title = "Contained in part" if set(missing) & set(REQUIRED) else "Contained"
            of = f"but for: {', '.join(missing)}"
        return {"title": title, "of": of, "is_good": title == "Contained", "protections": protections}

    @property
    def dataset_id(self) -> str | None:
        return self.record.parent_id

    @property
    def directory(self) -> str:
        return str(self.folder.path)

    @property
    def url(self) -> str:
        return url_for(f"{self.family}s.show", job_id=self.id)

    @property
    def size_bytes(self) -> int:
        return self.folder.size_bytes()


def goes_on_in_words(newest: Manifest | None, job: JobRecord) -> str:
    """From where a training goes on that has this newest snapshot, and what it learns again."""
    if newest is None:
        return "It begins at its first step: it has no snapshot to go on from."
    done, reached = newest.taken_after, float(job.summary.get("epoch", 0.0))
    epochs = job.summary.get("epochs")
    place = f"{epochs_in_words(done)} of {epochs:,}" if epochs else epochs_in_words(done)
    place += " epoch" if (epochs or done) == 1 else " epochs"
    # Events tell it with six digits.
    if reached <= done + 1e-6:
        return f"It goes on after {place}."
    return (
        f"It goes on after {place}, from its newest good snapshot. What it had learnt after that, up to "
        f"{epochs_in_words(reached)}, it learns again."
    )


def job_view(job_id: str) -> JobView:
    """The job of this id, if whoever asks may read it. A private one of somebody else is not there for them."""
    record = services().store.get(job_id)
    if not may_read(visitor(), record):
        raise NoSuchJob(NOT_FOUND)
    return view_of(record)


def changeable(job_id: str) -> JobView:
    """The job of this id, if whoever asks may change it."""
    job = job_view(job_id)
    if not job.may_change:
        raise Refused(f'"{job.name}" stays as it is. {job.whose}')
    return job


def view_of(record: JobRecord) -> JobView:
    service = services()
    changes = [(change.status.value, change.time) for change in service.store.status_changes(record.id)]
    return JobView(record, changes)


def status_of(job: JobView) -> dict[str, Any]:
    """The state of a job as its page follows it."""
    return {
        "id": job.id,
        "name": job.name,
        "private": job.private,
        "status": job.status,
        "css": job.status_css,
        "cause": job.cause,
        "line": job.line,
        "running": job.running,
        "can_abort": job.can_abort,
        "can_pause": job.can_pause,
        "can_resume": job.can_resume,
        "can_train_longer": job.can_train_longer,
        "goes_on": job.goes_on,
        "remark": job.remark,
        "times": [{"status": status, "time": moment} for status, moment in job.times],
        "progress": job.progress,
        "seconds_left": job.seconds_left,
        "elapsed": job.elapsed,
        "seconds_toward_limit": job.seconds_toward_limit,
        "containment": job.containment,
    }


def _rounded(seconds: float | None) -> float | None:
    # A clock may be put back meanwhile.
    return None if seconds is None else round(max(0.0, seconds), 1)


def table_row(job: ListedJob) -> dict[str, Any]:
    """A row of the home page; the keys are DIGITS's where DIGITS had them."""
    record = job.record
    kind = job_kind(record.kind)
    summary = record.summary
    curves = {
        f"{curve} {statistic}": summary[curve][statistic]
        for curve in ("loss (train)", "loss (val)")
        if curve in summary
        for statistic in ("last", "min", "max")
    }
    return {
        "id": record.id,
        "name": record.name,
        "group": record.group_name,
        "notes": record.notes,
        "type": record.family,
        "kind": record.kind,
        "title": kind.title,
        "status": record.status.value,
        "status_css": record.status.css,
        "cause": record.cause,
        "remark": services().scheduler.remark(record.id),
        "submitted": record.created,
        "elapsed": _rounded(job.elapsed),
        "progress": round(100 * float(summary.get("progress", 0.0)), 1),
        "seconds_left": summary.get("seconds_left") if record.status.is_running else None,
        "dataset_id": record.parent_id,
        "refs": job.readers,
        "username": record.owner or "",
        "private": record.private,
        "sparkline": summary.get("sparkline", {}).get("losses", []),
        "url": url_for(f"{record.family}s.show", job_id=record.id),
        **({"framework": record.framework} if record.family == "model" else {"backend": "lmdb"}),
        **curves,
    }
