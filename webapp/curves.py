"""The curve of a training over HTTP: thinned to what a chart can show, by epoch, and whole."""

import math
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, jsonify, redirect, request, url_for
from flask.typing import ResponseReturnValue

from webapp.job_view import job_view
from webapp.models import model_view
from webapp.services import services

if TYPE_CHECKING:
    from jobs.curves import Curve

blueprint = Blueprint("curves", __name__, url_prefix="/models")

BUCKETS = 1000
MOST_BUCKETS = 5000
MOST_ROWS = 2000


@blueprint.get("/<job_id>/curve.json")
def curve(job_id: str) -> ResponseReturnValue:
    """The points from epoch `from` to epoch `to`, thinned to the lowest, highest and last of each of `buckets` parts.

    `next` is the byte of the events up to which points are contained. `smoothing` is the share of the training over
    which to average.
    """
    low, high = _number("from", -math.inf), _number("to", math.inf)
    if low > high:
        abort(HTTPStatus.BAD_REQUEST, f"`from` is {low:g} and must not lie behind `to`, which is {high:g}.")
    buckets = _number("buckets", BUCKETS)
    if not 1 <= buckets <= MOST_BUCKETS or buckets != int(buckets):
        abort(HTTPStatus.BAD_REQUEST, f"`buckets` must be a whole number from 1 to {MOST_BUCKETS}.")
    smoothing = _number("smoothing", 0.0)
    if not 0 <= smoothing <= 1:
        abort(HTTPStatus.BAD_REQUEST, "`smoothing` must be a share of the training, from 0 to 1.")
    with _curve(job_id) as read:
        return jsonify(read.view(low, high, int(buckets), smoothing))


@blueprint.get("/<job_id>/epochs.json")
def epochs(job_id: str) -> ResponseReturnValue:
    """One row for each epoch, of all its points; of a very long training the last ones."""
    with _curve(job_id) as read:
        return jsonify(read.epochs(MOST_ROWS))


@blueprint.get("/<job_id>/curve.csv")
def csv(job_id: str) -> ResponseReturnValue:
    """Every point that the training kept: of a very long one the lowest, highest and last of each few steps."""
    with _curve(job_id) as read:
        lines = read.csv()
    attachment = {"Content-Disposition": f"attachment; filename={job_id}-curve.csv"}
    return Response(lines, mimetype="text/csv", headers=attachment)


@blueprint.get("/images/generic/large_graph")
def large_graph() -> ResponseReturnValue:
    """DIGITS's address of the chart alone."""
    job = job_view(request.args.get("job_id", ""))
    return redirect(url_for("models.show", job_id=job.id, _anchor="large"))


def _curve(job_id: str) -> AbstractContextManager["Curve"]:
    """The model's curve with all that its events say until now."""
    return services().curves.read(model_view(job_id).folder.events)


def _number(name: str, default: float) -> float:
    given = request.args.get(name, "").strip()
    if not given:
        return default
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        abort(HTTPStatus.BAD_REQUEST, f"`{name}` is {given[:100]!r} and must be a number.")
    return value
