"""Test One: a picture of the user's own, through a network that was trained."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Blueprint, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from jobs.errors import UserError, disk_fault
from webapp.errors import wants_json
from webapp.image_url import LONGEST_NAME, starts_like_url
from webapp.job_view import JobView
from webapp.models import model_view
from webapp.paths import server_paths
from webapp.services import services
from webapp.uploads import passing_file

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
            "snapshot": prediction["snapshot"], "layers": prediction["layers"], "seconds": prediction["seconds"]}  # fmt: skip


def _epoch(job: JobView) -> int:
    """The number of the snapshot that is asked for, by that or by the epochs it was taken after; without one, the newest."""
    snapshots = job.snapshots
    if not snapshots:
        raise UserError("This model has no snapshot yet. Wait for the end of its first epoch.")
    asked = request.values.get("snapshot_epoch", "").strip()
    try:
        wanted = float(asked) if asked else -1.0
    except ValueError:
        raise UserError(f"Unable to find snapshot for epoch={asked!r}: this is no number.") from None
    if wanted == -1:
        return snapshots[-1].epoch
    found = [snapshot.epoch for snapshot in snapshots if wanted in (snapshot.epoch, float(snapshot.words))]
    if not found:
        there_are = ", ".join(snapshot.words for snapshot in snapshots)
        raise UserError(f"Unable to find snapshot for epoch={asked[:100]}. There are snapshots of: {there_are}.")
    return found[0]


def _colormap() -> str:
    colormap = request.values.get("colormap", COLORMAPS[0])
    if colormap not in COLORMAPS:
        raise UserError(f"There is no colormap {colormap!r}; there are: {', '.join(COLORMAPS)}.")
    return colormap


@contextmanager
def _picture() -> Iterator[tuple[Path, str]]:
    """The picture to test, in a file that is the predictor's alone, and its name."""
    upload = request.files.get("image_file")
    given = request.values.get("image_path", "").strip()
    with passing_file() as path:
        if upload is not None and upload.filename:
            upload.save(path)
            name = upload.filename[:LONGEST_NAME]
        elif not given:
            raise UserError("must provide image_path or image_file: upload a picture or name one on the server.")
        elif starts_like_url(given):
            name = _fetch(given, path)
        else:
            name = _copy(Path(given), path)
        yield path, name


def _fetch(url: str, path: Path) -> str:
    """Fetch a picture from the web; its name."""
    web = services().settings.images_of_the_web
    if web is None:
        raise UserError(
            "This server fetches no pictures from the web. Upload the picture, or start the server with --allow-image-url."
        )
    return web.save(url, path)


def _copy(source: Path, path: Path) -> str:
    """Copy a picture that lies on the server, where that may be read; its name."""
    paths = server_paths()
    if not source.is_absolute() or not paths.allows(source):
        roots = ", ".join(str(root) for root in paths.roots)
        raise UserError(f"{source} lies outside the folders that this server may read ({roots}).")
    try:
        if not source.is_file():
            raise UserError(f"File does not exist: {source}")
        with paths.open(source) as file, path.open("wb") as kept:
            shutil.copyfileobj(file, kept)
    except OSError as error:
        if disk_fault(error):
            raise
        raise UserError(f"{source} cannot be read: {error.strerror}.") from error
    return source.name
