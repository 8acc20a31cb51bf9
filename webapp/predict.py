"""Test One: a picture of the user's own, through a network that was trained."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Blueprint, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from jobs.errors import UserError
from webapp.errors import wants_json
from webapp.image_url import LONGEST_NAME, starts_like_url
from webapp.job_view import JobView
from webapp.models import model_view
from webapp.services import services

blueprint = Blueprint("predict", __name__, url_prefix="/models/images/generic")

COLORMAPS = ("jet", "viridis")


@blueprint.post("/infer_one")
@blueprint.post("/infer_one.json")
def infer_one() -> ResponseReturnValue:
    job = model_view(request.values.get("job_id", ""))
    with _picture() as (path, name):
        prediction = services().predictions.predict(
            job.folder,
            services().scheduler.folder(str(job.dataset_id)),
            epoch=_epoch(job),
            image=path,
            show_visualizations=bool(request.values.get("show_visualizations")),
            colormap=_colormap(),
        )
    prediction["image"] = name
    if wants_json():
        return jsonify(_as_json(prediction))
    # The page draws the output and has no use for its values.
    del prediction["outputs"]
    return render_template("models/infer_one.html", job=job, prediction=prediction)


def _as_json(prediction: dict[str, Any]) -> dict[str, Any]:
    """DIGITS's answer, and beside it what DIGITS did not measure."""
    return {"outputs": prediction["outputs"], "error_of_reconstruction": prediction["error"],
            "layers": prediction["layers"], "seconds": prediction["seconds"]}  # fmt: skip


def _epoch(job: JobView) -> int:
    """The snapshot that is asked for; without one, the newest."""
    epochs = job.folder.snapshot_epochs()
    if not epochs:
        raise UserError("This model has no snapshot yet. Wait for the end of its first epoch.")
    asked = request.values.get("snapshot_epoch", "")
    try:
        epoch = int(float(asked)) if asked.strip() else -1
    except (ValueError, OverflowError):
        raise UserError(f"Unable to find snapshot for epoch={asked!r}: this is no whole number.") from None
    if epoch == -1:
        return epochs[-1]
    if epoch not in epochs:
        raise UserError(
            f"Unable to find snapshot for epoch={epoch}. There are snapshots of: {', '.join(map(str, epochs))}."
        )
    return epoch


def _colormap() -> str:
    colormap = request.values.get("colormap", COLORMAPS[0])
    if colormap not in COLORMAPS:
        raise UserError(f"There is no colormap {colormap!r}; there are: {', '.join(COLORMAPS)}.")
    return colormap


@contextmanager
def _picture() -> Iterator[tuple[Path, str]]:
    """The picture to test and its name. What is uploaded or fetched is kept for the test only."""
    upload = request.files.get("image_file")
    given = request.values.get("image_path", "").strip()
    if upload is not None and upload.filename:
        with _kept() as path:
            upload.save(path)
            yield path, upload.filename[:LONGEST_NAME]
    elif not given:
        raise UserError("must provide image_path or image_file: upload a picture or name one on the server.")
    elif starts_like_url(given):
        with _kept() as path:
            yield path, _fetch(given, path)
    else:
        path = _on_server(given)
        yield path, path.name


@contextmanager
def _kept() -> Iterator[Path]:
    """A place for a picture that goes with the request."""
    path = services().settings.uploads_dir / secrets.token_hex(16)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _fetch(url: str, path: Path) -> str:
    """Fetch a picture from the web; its name."""
    web = services().settings.images_of_the_web
    if web is None:
        raise UserError(
            "This server fetches no pictures from the web. Upload the picture, or start the server with --allow-image-url."
        )
    return web.save(url, path)


def _on_server(given: str) -> Path:
    """The picture's file on the server, which is there and may be read."""
    path = Path(given)
    if not path.is_absolute() or not services().settings.paths.allows(path):
        roots = ", ".join(str(root) for root in services().settings.paths.roots)
        raise UserError(f"{given} lies outside the folders that this server may read ({roots}).")
    try:
        is_file = path.is_file()
    except OSError as error:
        raise UserError(f"{given} cannot be read: {error.strerror}.") from error
    if not is_file:
        raise UserError(f"File does not exist: {given}")
    return path
