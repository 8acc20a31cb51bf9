"""A job that a person asks for: its form, what was sent of it, and its place in the queue."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from jobs.folder import jobs_read_by
from jobs.specs import FormFields, JobSpec
from webapp.forms import Form, Spec, make_form, parse
from webapp.identity import maker, visitor
from webapp.job_view import JobView, job_view, view_of
from webapp.paths import server_paths
from webapp.services import services


class Sharing(FormFields):
    """Who may see a job. No part of its spec, which never changes."""

    private: bool = Field(
        False, title="Private", description="Only you can see it. What is made from a private job is private, too."
    )


def job_form(title: str, action: str, spec: type[JobSpec], values: Mapping[str, Any],
             errors: Mapping[str, list[str]] | None = None) -> Form:  # fmt: skip
    """The form of a new job; where people log in, with the choice of who may see it."""
    with_sharing = () if visitor().reader is None else (Sharing,)
    return make_form(title, action, (spec, *with_sharing), values, errors)


def asked_job(spec: type[Spec], values: Mapping[str, Any]) -> tuple[Spec | None, bool, dict[str, list[str]]]:
    """The spec that was sent, whether the job is to be private, and what is wrong with each field, in sentences."""
    paths = server_paths()
    made, errors = parse(spec, values, paths)
    sharing, errors_of_sharing = parse(Sharing, values, paths)
    private = sharing is not None and sharing.private
    if private and visitor().reader is None:
        errors_of_sharing["private"] = ["A job can be private only where people log in. Nobody has an account here."]
    errors |= errors_of_sharing
    return None if errors else made, private, errors


def submit(spec: JobSpec, private: bool = False) -> JobView:
    """Enter the job in the queue as one of whoever asks. NoSuchJob where something that it reads is not for them any more."""
    service = services()
    with service.scheduler.turn:
        for job_id in jobs_read_by(spec, service.settings.jobs_dir):
            # Since the form was looked at its owner may have made it private.
            if service.store.is_private(job_id):
                job_view(job_id)
        made = service.scheduler.submit(spec, maker(), private)
    return view_of(service.store.get(made))
