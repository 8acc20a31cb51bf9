"""Dataset pages: make one, look at it, explore its pictures."""

import io
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, jsonify, redirect, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue

from jobs.errors import EnvironmentFault, UserError
from jobs.registry import JobKind, job_kinds
from jobs.statuses import Status
from webapp import exploring
from webapp.errors import FormErrors, wants_json
from webapp.forms import sent_values
from webapp.identity import visitor
from webapp.job_view import JobView, job_view, status_of, view_of
from webapp.making import asked_job, job_form, submit
from webapp.services import services

blueprint = Blueprint("datasets", __name__, url_prefix="/datasets")


def kind_at(family: str, url: str) -> JobKind:
    """The kind of dataset or model whose pages are at this address."""
    for kind in job_kinds().values():
        # DIGITS answered with and without a slash at the end.
        if kind.family == family and kind.url == url.rstrip("/"):
            return kind
    abort(HTTPStatus.NOT_FOUND, f"There is no kind of {family} at this address.")


@blueprint.get("/<path:url>/new")
@blueprint.get("/<path:url>/new.json", endpoint="new_json")
def new(url: str) -> ResponseReturnValue:
    kind = kind_at("dataset", url)
    values: dict[str, Any] = {}
    if clone := request.args.get("clone"):
        original = job_view(clone)
        values = original.spec | {"private": original.private}
    elif source := request.args.get("from"):
        values = _prebuilt_from(job_view(source))
    return _form_page(kind, values)


def _form_page(
    kind: JobKind, values: dict[str, Any], errors: dict[str, list[str]] | None = None
) -> ResponseReturnValue:
    form = job_form(f"New {kind.title}", url_for("datasets.create", url=kind.url), kind.spec, values, errors)
    if wants_json():
        return jsonify(asdict(form))
    return render_template(f"datasets/{kind.url}/new.html", form=form, kind=kind)


def _prebuilt_from(job: JobView) -> dict[str, Any]:
    """The fields of a generic dataset that uses what this dataset job made."""
    # A model's network may have written in its own folder what looks like a dataset.
    made, folder = job.folder.dataset_if_made() if job.family == "dataset" else None, job.folder.path
    if made is None or "labels" not in made:
        raise UserError(
            f'From "{job.name}" no generic dataset can be made: that takes a classification dataset that is Done.'
        )
    splits = made["splits"]
    return {
        "dataset_name": f"{job.name}, generic",
        "prebuilt_train_images": str(folder / splits["train"]["db"]),
        "prebuilt_val_images": str(folder / splits["val"]["db"]) if "val" in splits else "",
        "prebuilt_mean_file": str(folder / "mean.binaryproto"),
    }


@blueprint.post("/<path:url>")
@blueprint.post("/<path:url>.json", endpoint="create_json")
def create(url: str) -> ResponseReturnValue:
    kind = kind_at("dataset", url)
    values = sent_values()
    spec, private, errors = asked_job(kind.spec, values)
    if spec is None:
        if wants_json():
            raise FormErrors(errors)
        return _form_page(kind, values, errors), HTTPStatus.BAD_REQUEST  # type: ignore[return-value]
    try:
        job = submit(spec, private)
    except EnvironmentFault as error:
        if wants_json():
            raise
        # The form again, so that what was typed is there when the machine has been seen to.
        return _form_page(kind, values, {"form": [str(error)]}), HTTPStatus.INSUFFICIENT_STORAGE  # type: ignore[return-value]
    return jsonify(id=job.id, name=job.name, status=job.status) if wants_json() else redirect(job.url)


@blueprint.get("/<job_id>")
def show(job_id: str) -> ResponseReturnValue:
    job = _dataset(job_id)
    if wants_json():
        return show_json(job_id)
    return render_template(
        "datasets/show.html",
        job=job,
        dataset=job.folder.dataset_if_made(),
        paths=_paths(job),
        models=[view_of(record) for record in services().store.children(job_id, visitor().reader)],
    )


@blueprint.get("/<job_id>.json")
def show_json(job_id: str) -> ResponseReturnValue:
    job = _dataset(job_id)
    made = job.folder.dataset_if_made()
    answer = status_of(job) | {"directory": job.directory, "notes": job.notes, "dataset": made}
    if made is not None and "labels" in made:
        answer |= _classification_tasks(made)
    return jsonify(answer)


def _classification_tasks(made: dict[str, Any]) -> dict[str, Any]:
    """What DIGITS's clients read of a classification dataset."""
    channels, height, width = made["image_shape"]
    splits = made["splits"]
    counts = {f"{split}_count": splits.get(split, {}).get("entries", 0) for split in ("train", "val", "test")}
    parse_task = {"name": "Parse Folder (train/val)", "label_count": len(made["labels"]), **counts}
    create_tasks = [
        {
            "name": f"Create DB ({split})",
            "entries": facts["entries"],
            "image_width": width,
            "image_height": height,
            "image_channels": channels,
            "backend": "lmdb",
            "encoding": made["encoding"],
            "compression": "none",
        }
        for split, facts in splits.items()
    ]
    return {"ParseFolderTasks": [parse_task], "CreateDbTasks": create_tasks}


@blueprint.get("/summary")
@blueprint.get("/summary.json")
def summary() -> ResponseReturnValue:
    """What the new-model page says of the chosen dataset."""
    job = _dataset(request.args.get("job_id", ""))
    made = job.folder.dataset_if_made() or {}
    splits = made.get("splits", {})
    return jsonify(
        id=job.id,
        name=job.name,
        status=job.status,
        url=job.url,
        image_shape=made.get("image_shape"),
        entries={split: facts["entries"] for split, facts in splits.items()},
        mean=made.get("mean_picture") is not None,
        mean_picture_url=url_for("job_actions.file", job_id=job.id, name="mean.jpg")
        if made.get("mean_picture")
        else None,
    )


@blueprint.get("/images/classification/explore")
@blueprint.get("/generic/explore")
@blueprint.get("/explore")
def explore() -> ResponseReturnValue:
    job = _dataset(request.args.get("job_id", ""))
    if job.status != Status.DONE:
        raise UserError(
            f'The dataset "{job.name}" cannot be explored yet: its status should be Done and is {job.status}.'
        )
    page = exploring.explore_page(
        job,
        split=request.args.get("db", "train").removesuffix("_db"),
        page=request.args.get("page", 0, type=int),
        size=request.args.get("size", exploring.PAGE_SIZES[1], type=int),
        label=request.args.get("label", type=int),
    )
    if wants_json():
        return jsonify(page)
    return render_template("datasets/explore.html", job=job, sizes=exploring.PAGE_SIZES, **page)


# Pages and their twins have an address each; the view tells them apart.
for _address in ("/images/classification/explore.json", "/generic/explore.json", "/explore.json"):
    blueprint.add_url_rule(_address, "explore_json", explore)


@blueprint.get("/<job_id>/image/<split>/<int:index>")
def image(job_id: str, split: str, index: int) -> ResponseReturnValue:
    """One picture of a database, as it is stored if a browser can show that."""
    job = _dataset(job_id)
    if job.folder.dataset_if_made() is None or split not in exploring.split_databases(job):
        abort(HTTPStatus.NOT_FOUND, f"This dataset has no database {split!r}.")
    try:
        content, mimetype = exploring.record_as_file(job, split, index)
    except IndexError as error:
        abort(HTTPStatus.NOT_FOUND, str(error))
    answer = send_file(io.BytesIO(content), mimetype=mimetype)
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer


def _dataset(job_id: str) -> JobView:
    job = job_view(job_id)
    if job.family != "dataset":
        abort(HTTPStatus.NOT_FOUND, "This job is no dataset.")
    return job


def _paths(job: JobView) -> dict[str, str]:
    """What a person may want to copy: absolute paths by what they are."""
    made, folder = job.folder.dataset_if_made(), job.folder.path
    paths = {"Job directory": str(folder)}
    if made is None:
        return paths
    for split, facts in made["splits"].items():
        name = {"train": "Training", "val": "Validation", "test": "Test"}[split]
        if "db" in facts:
            paths[f"{name} images"] = str(folder / facts["db"])
        else:
            paths[f"{name} images"] = facts["images_db"]
            if facts["labels_db"]:
                paths[f"{name} labels"] = facts["labels_db"]
    if made.get("mean_file"):
        paths["Mean image"] = str(folder / made["mean_file"])
    return paths
