"""Live layers over HTTP: the frames that a training wrote, and which image they show."""

import gzip
import zlib
from http import HTTPStatus
from io import BytesIO
from typing import cast

from flask import Blueprint, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import FileStorage

from jobs.errors import UserError
from jobs.pins import Pin, SplitName, pin_image, pin_upload
from webapp.forms import sent_values
from webapp.job_view import JobView, changeable
from webapp.models import as_model, model_view
from webapp.services import services
from webapp.uploads import passing_file

blueprint = Blueprint("frames", __name__, url_prefix="/models")

LONGEST_NUMBER = 9
# The pictures of a hundred layers are a tenth of this.
LARGEST_FRAME_BYTES = 2**27
LONGEST_NAME = 200
WHAT_TO_PIN = "Name a split (train or val) and an index, or send a picture as image_file."
NOT_MADE = "The dataset is not made yet, so no image can be pinned. Wait until it is Done."
FOR_EVER = "private, max-age=31536000, immutable"


@blueprint.get("/<job_id>/frames/<number>.json")
def show(job_id: str, number: str) -> ResponseReturnValue:
    """One frame, as the worker compressed it."""
    content = _frame(model_view(job_id), number)
    if content is None:
        abort(HTTPStatus.NOT_FOUND, f"The training has kept no frame {number[:LONGEST_NAME]}. Choose another.")
    is_understood = request.accept_encodings["gzip"] > 0
    response = Response(content if is_understood else _unpacked(content, number), mimetype="application/json")
    if is_understood:
        response.content_encoding = "gzip"
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = FOR_EVER
    return response


def _frame(job: JobView, number: str) -> bytes | None:
    if not number.isdecimal() or len(number) > LONGEST_NUMBER:
        return None
    try:
        with job.folder.open(job.folder.frame(int(number))) as file:
            content = file.read(LARGEST_FRAME_BYTES + 1)
    except OSError:
        return None
    return content if len(content) <= LARGEST_FRAME_BYTES else None


def _unpacked(content: bytes, number: str) -> bytes:
    """No more of it than a frame can be: pasted code may have written it."""
    try:
        with gzip.open(BytesIO(content)) as file:
            return file.read(LARGEST_FRAME_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        abort(HTTPStatus.NOT_FOUND, f"The frame {number} cannot be read: {error}. Choose another.")


@blueprint.put("/<job_id>/pin")
def pin(job_id: str) -> ResponseReturnValue:
    """Choose the image of the frames to come: `split` and `index` of the dataset, or a picture as `image_file`."""
    job = as_model(changeable(job_id))
    if not job.running:
        abort(HTTPStatus.CONFLICT, "The training is over: there will be no more frames, so no image can be pinned.")
    if not job.spec.get("live_layers", True):
        abort(HTTPStatus.CONFLICT, "This training was started without live layers, so no image can be pinned.")
    upload = request.files.get("image_file")
    chosen = _pin_upload(job, upload) if upload is not None and upload.filename else _pin_of_dataset(job)
    return jsonify(pin=chosen.image)


def _pin_upload(job: JobView, upload: FileStorage) -> Pin:
    dataset = services().scheduler.folder(str(job.dataset_id))
    if not dataset.dataset.exists():
        raise UserError(NOT_MADE)
    with passing_file() as path:
        upload.save(path)
        # A picture that cannot be read is the business of who sends it, not of the training.
        services().explorations.check_picture(dataset, path)
        return pin_upload(job.folder, path.read_bytes(), str(upload.filename)[:LONGEST_NAME])


def _pin_of_dataset(job: JobView) -> Pin:
    dataset = services().scheduler.folder(str(job.dataset_id))
    made = dataset.dataset_if_made()
    if made is None:
        raise UserError(NOT_MADE)
    splits = made["splits"]
    sent = sent_values()
    split, index = str(sent.get("split") or ""), str(sent.get("index", "")).strip()
    if not split:
        whose = f" for the index {index[:LONGEST_NUMBER]!r}" if index else ""
        raise UserError(f"The request names no split{whose}. {WHAT_TO_PIN}")
    if split not in ("train", "val") or split not in splits:
        raise UserError(f"The dataset has no images {split[:LONGEST_NAME]!r} to pin. {WHAT_TO_PIN}")
    entries = splits[split]["entries"]
    if not index.isdecimal() or len(index) > len(str(entries)) or int(index) >= entries:
        raise UserError(f"There is no image {index!r} to pin: the index is a whole number from 0 to {entries - 1}.")
    return pin_image(job.folder, cast(SplitName, split), int(index))
