"""The home page: every job, and the one click for a person who has none."""

import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Blueprint, abort, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue

from jobs.children import child_environment
from jobs.datasets.generic_image import GenericImageDatasetSpec
from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.errors import EnvironmentFault
from jobs.listing import SORTS, TABLES, Listing, Table
from jobs.models.generic_image import GenericImageModelSpec
from jobs.networks.starter import starter_network
from jobs.store import JobName, ListedJob
from webapp.config import VERSION
from webapp.errors import wants_json
from webapp.identity import may_change, visitor
from webapp.job_view import JobView, table_row
from webapp.making import submit
from webapp.services import services

blueprint = Blueprint("home", __name__)

DIGITS_SHAPE = (1, 28, 28)
ROWS_OF_A_PAGE = 25
SECONDS_FOR_DIGITS = 60


@blueprint.get("/")
def index() -> ResponseReturnValue:
    if wants_json():
        return index_json()
    return render_template("home.html", tables=_tables(), damaged_lists=services().damaged_lists)


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    """For whoever watches over the server, without a login: it answers, and that is all there is to know."""
    return jsonify(status="ok")


@blueprint.get("/tables.json")
def tables() -> ResponseReturnValue:
    """One page of rows of each table: `filter`, and `models.sort`, `models.order`, `models.page` for each of the tables."""
    return jsonify(_tables())


@blueprint.get("/tables/<table>/names.json")
def names(table: str) -> ResponseReturnValue:
    """The ids and names of all jobs in the table that match `filter`, newest first."""
    if table not in TABLES:
        abort(HTTPStatus.NOT_FOUND, f"There is no table {table!r}. There are: {', '.join(TABLES)}.")
    listing = Listing(table, request.args.get("filter", ""), reader=visitor().reader)
    return jsonify(names=[{"id": job_id, "name": name} for job_id, name in services().store.listed_names(listing)])


@blueprint.get("/index.json")
def index_json() -> ResponseReturnValue:
    jobs = services().store.names(visitor().reader)
    return jsonify(
        version=VERSION,
        jobs_dir=str(services().settings.jobs_dir),
        datasets=[_named(job) for job in jobs if job.family == "dataset"],
        models=[_named(job) | {"dataset_id": job.parent_id} for job in jobs if job.family == "model"],
    )


@blueprint.get("/completed_jobs.json")
def completed_jobs() -> ResponseReturnValue:
    """Every job as DIGITS's tables had them: what runs, and what has ended by family; newest first."""
    rows = {table: _rows(services().store.listed_names(Listing(table, reader=visitor().reader))) for table in TABLES}
    fields = {key for row in (*rows["datasets"], *rows["models"]) for key in row if key.startswith("loss ")}
    return jsonify(**rows, pretrained_models=[], model_output_fields=sorted(fields))


@blueprint.get("/jobs/<job_id>/table_data.json")
def table_data(job_id: str) -> ResponseReturnValue:
    return jsonify(job=_row(services().store.listed_job(job_id, visitor().reader)))


@blueprint.post("/try-it")
def try_it() -> ResponseReturnValue:
    """Queue a training on scikit-learn's handwritten digits and all that it needs; then its page."""
    job = _queue_handwritten_digits()
    return jsonify(id=job.id, name=job.name, status=job.status) if wants_json() else redirect(job.url)


def _queue_handwritten_digits() -> JobView:
    """Dataset, generic dataset and autoencoder; the last of them."""
    classification = submit(
        ImageClassificationDatasetSpec(
            dataset_name="Handwritten digits",
            resize_channels=1,
            resize_width=DIGITS_SHAPE[2],
            resize_height=DIGITS_SHAPE[1],
            folder_train=str(_digit_folders()),
        )
    )
    folder = classification.folder.path
    generic = submit(
        GenericImageDatasetSpec(
            dataset_name="Handwritten digits, generic",
            prebuilt_train_images=str(folder / "train_db"),
            prebuilt_val_images=str(folder / "val_db"),
            prebuilt_mean_file=str(folder / "mean.binaryproto"),
        )
    )
    return submit(
        GenericImageModelSpec(
            model_name="Autoencoder with a 50-node code",
            dataset=generic.id,
            # There are few digits: at the network's own batch size an epoch would be too few steps to learn much.
            batch_size=10,
            custom_network=starter_network(DIGITS_SHAPE),
        )
    )


def _digit_folders() -> Path:
    """Class folders of the digits, made the first time. In a process of its own: scikit-learn is large."""
    folder = services().settings.samples_dir / "handwritten-digits"
    if not folder.exists():
        command = [sys.executable, "-P", "-m", "jobs.storage.handwritten", str(folder)]
        try:
            made = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_FOR_DIGITS, check=False,
                                  env=child_environment(folder.parent, "cpu"))  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise EnvironmentFault(
                f"The pictures of the digits were not made within {SECONDS_FOR_DIGITS} s. "
                "Try again when the machine has less to do."
            ) from error
        if made.returncode:
            raise EnvironmentFault(f"The pictures of the digits could not be made: {made.stderr.strip()[-500:]}")
    return folder


def _tables() -> dict[str, dict[str, Any]]:
    return {table: _page(table) for table in TABLES}


def _page(table: Table) -> dict[str, Any]:
    """The rows of one page of a table, with what the page has to know of the others."""
    listing = _listing(table)
    store = services().store
    total, matching = store.counts(listing)
    pages = max(1, -(-matching // ROWS_OF_A_PAGE))
    # The page may have gone with its jobs.
    page = min(max(1, request.args.get(f"{table}.page", default=1, type=int)), pages)
    shown = store.listed_names(listing, ROWS_OF_A_PAGE, (page - 1) * ROWS_OF_A_PAGE)
    return {
        "rows": _rows(shown),
        "total": total,
        "matching": matching,
        "page": page,
        "pages": pages,
        "first": (page - 1) * ROWS_OF_A_PAGE + 1 if shown else 0,
        "filter": listing.words,
        "sort": listing.sort,
        "order": "descending" if listing.descending else "ascending",
    }


def _listing(table: Table) -> Listing:
    # What runs before what waits.
    usual = ("status", "ascending") if table == "running" else ("submitted", "descending")
    sort = request.args.get(f"{table}.sort", usual[0])
    order = request.args.get(f"{table}.order", usual[1])
    if sort not in SORTS:
        abort(HTTPStatus.BAD_REQUEST, f"Jobs cannot be sorted by {sort!r}. They can by: {', '.join(SORTS)}.")
    if order not in ("ascending", "descending"):
        abort(HTTPStatus.BAD_REQUEST, f"The order must be ascending or descending, not {order!r}.")
    return Listing(table, request.args.get("filter", ""), sort, order == "descending", reader=visitor().reader)


def _rows(jobs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [_row(job) for job in services().store.listed([job_id for job_id, _ in jobs], visitor().reader)]


def _row(job: ListedJob) -> dict[str, Any]:
    return table_row(job) | {"may_change": may_change(visitor(), job.record)}


def _named(job: JobName) -> dict[str, Any]:
    return {"id": job.id, "name": job.name, "status": job.status.value}
