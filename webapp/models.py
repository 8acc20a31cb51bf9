"""Model pages: make one, try its network and its learning rate, watch it train."""

import math
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args

from flask import Blueprint, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from jobs.datasets.generic_image import label_range
from jobs.errors import EnvironmentFault, NoSuchJob, UserError
from jobs.models.generic_image import Framework, GenericImageModelSpec, LearningRateSchedule
from jobs.networks.starter import starter_network
from jobs.passing_folders import PassingFolder
from jobs.pins import read_pin
from jobs.registry import JobKind, job_kind, job_kinds
from jobs.statuses import Status
from jobs.training.schedules import learning_rate_curve
from webapp.config import VERSION
from webapp.datasets import kind_at
from webapp.errors import FormErrors, wants_json
from webapp.forms import parse, sent_values
from webapp.identity import visitor
from webapp.job_view import JobView, job_view, status_of, view_of
from webapp.making import asked_job, job_form, submit
from webapp.paths import server_paths
from webapp.services import services

blueprint = Blueprint("models", __name__, url_prefix="/models")


@blueprint.get("/<path:url>/new")
@blueprint.get("/<path:url>/new.json", endpoint="new_json")
def new(url: str) -> ResponseReturnValue:
    kind = kind_at("model", url)
    values: dict[str, Any] = {}
    if clone := request.args.get("clone"):
        original = job_view(clone)
        values = original.spec | {"private": original.private}
        if original.family == "model":
            values["train_epochs"] = original.epochs
    elif dataset := request.args.get("dataset"):
        values = {"dataset": dataset}
    if framework := request.args.get("framework"):
        values = {"framework": _framework(framework), **values}
    return _form_page(kind, values)


def _form_page(
    kind: JobKind, values: dict[str, Any], errors: dict[str, list[str]] | None = None
) -> ResponseReturnValue:
    datasets = _datasets(kind)
    if "dataset" not in values and datasets:
        values = values | {"dataset": datasets[0].id}
    if "custom_network" not in values:
        framework = _framework(str(values.get("framework", "")))
        values = values | {"custom_network": _starter(str(values.get("dataset", "")), framework)}
    title = f"New {kind.title.removeprefix('Generic ')}"
    form = job_form(title, url_for("models.create", url=kind.url), kind.spec, values, errors)
    if wants_json():
        return jsonify(asdict(form))
    # A form sends the texts of all its tabs, so that a refusal loses none.
    drafts = {framework: str(values.get(f"draft_{framework}", "")) for framework in get_args(Framework)}
    return render_template(f"models/{kind.url}/new.html", form=form, kind=kind, datasets=datasets, drafts=drafts,
                           gpus=services().resources.gpus)  # fmt: skip


def _datasets(kind: JobKind) -> list[JobView]:
    """Datasets that this kind of model can learn from, newest first: what is done or will be."""
    feeding = [other.id for other in job_kinds().values() if other.feeds == kind.id]
    records = services().store.of_kinds(feeding, visitor().reader)
    return [view_of(record) for record in records if record.status not in (Status.ERROR, Status.ABORTED)]


def _framework(sent: str) -> Framework:
    """The framework of this id; the first where none is named."""
    known: tuple[Framework, ...] = get_args(Framework)
    for framework in known:
        if sent in (framework, ""):
            return framework
    raise UserError(f"There is no framework {sent!r}; a network is written for {' or '.join(known)}.")


def _starter(dataset_id: str, framework: Framework) -> str:
    """A network to begin with, for the images of the dataset, or for MNIST's when they are not known yet."""
    shape = (1, 28, 28)
    try:
        dataset = job_view(dataset_id)
    except NoSuchJob:
        return starter_network(shape, framework)
    # In the folder of a model its network may have written anything.
    if dataset.family == "dataset" and (made := dataset.folder.dataset_if_made()):
        shape = tuple(made["image_shape"])
    return starter_network(shape, framework)


@blueprint.post("/starter-network")
def starter() -> ResponseReturnValue:
    framework = _framework(request.form.get("framework", ""))
    return jsonify(network=_starter(request.form.get("dataset", ""), framework))


@blueprint.post("/visualize-lr")
def visualize_lr() -> ResponseReturnValue:
    """The learning rate at each percent of training, as DIGITS sent it."""
    schedule, errors = parse(LearningRateSchedule, sent_values(), server_paths())
    if schedule is None:
        raise FormErrors(errors)
    # JSON has no infinity, and a chart no place for it: a hole.
    curve = [rate if math.isfinite(rate) else None for rate in learning_rate_curve(schedule)]
    return jsonify(data={"columns": [["Learning Rate 0", *curve]]})


@blueprint.post("/visualize-network")
def visualize_network() -> ResponseReturnValue:
    """The layers of a pasted network, tried on the shape of its dataset; 400 with the line that is to blame."""
    return _answer_about_network(_network_question())


@blueprint.post("/show-python")
def show_python() -> ResponseReturnValue:
    """The Python of a pasted network in Lua, with notes on what differs; 400 with the line that is to blame."""
    question = _network_question()
    if question["framework"] != "torch":
        raise UserError("Only a network in Lua can be shown as Python. This one was sent as Python already.")
    return _answer_about_network(question | {"wish": "python", "solver_type": request.form.get("solver_type", "")})


def _network_question() -> dict[str, Any]:
    """What the form says of a network, as the process that tries it wants to be asked."""
    # DIGITS's clients send it in the address.
    framework = _framework(request.values.get("framework", ""))
    dataset = job_view(request.form.get("dataset", ""))
    if job_kind(dataset.kind).feeds is None:
        raise UserError(_no_generic_dataset(dataset))
    folder = dataset.folder
    made = folder.dataset_if_made()
    if made is None:
        raise UserError("The dataset is not made yet, so the shape of its images is not known. Wait until it is Done.")
    train = made["splits"]["train"]
    return {
        "framework": framework,
        "text": request.form.get("custom_network", ""),
        "image_shape": made["image_shape"],
        "label_shape": train["label_shape"],
        "label_range": label_range(made),
        "crop_size": _crop_size(request.form.get("crop_size", "").strip()),
        "n_classes": None,
        "pretrained_model": _pretrained_model(framework),
    }


def _pretrained_model(framework: Framework) -> str:
    """The file of weights that the form names, or none; UserError, in the words of its field, where it cannot be had."""
    values = sent_values() | {"framework": framework}
    given = str(values.get("pretrained_model") or values.get("custom_network_snapshot") or "").strip()
    # The rest of the form may be as yet unfinished.
    _, errors = parse(GenericImageModelSpec, values, server_paths())
    if sentences := errors.get("pretrained_model"):
        raise UserError(f"Pretrained weights: {' '.join(sentences)}")
    return given


def _answer_about_network(question: dict[str, Any]) -> ResponseReturnValue:
    try:
        with PassingFolder("check") as scratch:
            return jsonify(services().checks.check(question, scratch.path, request.form.get("check", "")))
    except UserError as error:
        body = {"message": str(error), "type": type(error).__name__}
        place = {"line": getattr(error, "line", None), "layer": getattr(error, "layer", None)}
        return jsonify(error=body | place), HTTPStatus.BAD_REQUEST


@blueprint.post("/end-check")
def end_check() -> ResponseReturnValue:
    """End a check that goes on, by the name that its request gave it as `check`."""
    return jsonify(ended=services().checks.end(request.form.get("check", "")))


def _crop_size(given: str) -> int | None:
    if not given:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"The crop size is {given}; it must be a whole number, 1 or more, or blank.")
    return int(given)


@blueprint.post("/<path:url>")
@blueprint.post("/<path:url>.json", endpoint="create_json")
def create(url: str) -> ResponseReturnValue:
    kind = kind_at("model", url)
    values = sent_values()
    spec, private, errors = asked_job(kind.spec, values)
    if isinstance(spec, GenericImageModelSpec):
        errors = _dataset_errors(spec)
    if spec is None or errors:
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
    return jsonify(_description(job)) if wants_json() else redirect(job.url)


def _dataset_errors(spec: GenericImageModelSpec) -> dict[str, list[str]]:
    """What of the form does not go with the chosen dataset."""
    try:
        dataset = job_view(spec.dataset)
    except NoSuchJob:
        return {"dataset": ["This dataset does not exist (any more). Choose another."]}
    if job_kind(dataset.kind).feeds != spec.kind:
        return {"dataset": [_no_generic_dataset(dataset)]}
    if dataset.status in (Status.ERROR, Status.ABORTED):
        return {"dataset": [f'"{dataset.name}" was not made: {dataset.cause or dataset.status}. Choose another.']}
    made = dataset.folder.dataset_if_made()
    if made is None:
        return {}
    errors: dict[str, list[str]] = {}
    if spec.use_mean != "none" and made["mean"] is None:
        errors["use_mean"] = ['The dataset has no mean image. Choose "None" here, or give the dataset a mean file.']
    smallest = min(made["image_shape"][1:])
    if spec.crop_size is not None and spec.crop_size > smallest:
        errors["crop_size"] = [f"The crop is larger than the images, whose smaller side has {smallest} pixels."]
    return errors


def _no_generic_dataset(job: JobView) -> str:
    if job.family == "dataset":
        return f'"{job.name}" is no generic dataset. Its page has a button that makes one from it.'
    return f'"{job.name}" is no dataset. Choose one.'


@blueprint.get("/<job_id>")
def show(job_id: str) -> ResponseReturnValue:
    job = model_view(job_id)
    if wants_json():
        return show_json(job_id)
    assert job.dataset_id is not None
    try:
        dataset_job = job_view(job.dataset_id)
    except NoSuchJob:
        dataset_job = None
    others = services().store.children(job.dataset_id, visitor().reader)
    siblings = [view_of(record) for record in others if record.id != job_id]
    return render_template("models/show.html", job=job, dataset_job=dataset_job, siblings=siblings,
                           snapshots=job.snapshots[::-1],
                           allows_url=services().settings.images_of_the_web is not None)  # fmt: skip


@blueprint.get("/<job_id>.json")
def show_json(job_id: str) -> ResponseReturnValue:
    job = model_view(job_id)
    pin = None
    # A damaged one is the business of who pins the next.
    with suppress(UserError):
        pin = read_pin(job.folder)
    return jsonify(
        _description(job)
        | status_of(job)
        | {
            "snapshots": [snapshot.epoch for snapshot in job.snapshots],
            "snapshots_taken_after": [snapshot.epochs_done for snapshot in job.snapshots],
            "epochs": job.epochs,
            "directory": job.directory,
            "size_bytes": job.size_bytes,
            "pin": pin and pin.image,
        }
    )


def _description(job: JobView) -> dict[str, Any]:
    """A model by DIGITS's keys, blanks and all."""
    epochs = job.folder.snapshot_epochs()
    dataset = services().scheduler.folder(str(job.dataset_id))
    made = dataset.dataset_if_made() or {}
    shape = made.get("image_shape")
    return {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "dataset_id": job.dataset_id,
        "job id": job.id,
        "creation time": str(datetime.fromtimestamp(job.created)),
        "username": job.owner or "",
        "image dimensions": [shape[1], shape[2], shape[0]] if shape else None,
        "mean file": Path(made["mean_file"]).name if made.get("mean_file") else "",
        "snapshot file": job.folder.snapshot(epochs[-1]).name if epochs else "no snapshots",
        "model file": "spec.json",
        "framework": job.spec["framework"],
        "layerscope version": VERSION,
    }


def model_view(job_id: str) -> JobView:
    """The model of this id; 404 where it is none."""
    return as_model(job_view(job_id))


def as_model(job: JobView) -> JobView:
    if job.family != "model":
        abort(HTTPStatus.NOT_FOUND, "This job is no model.")
    return job
