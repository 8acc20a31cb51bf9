"""The home page: every job, and the one click for a person who has none."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from flask import Blueprint, jsonify, redirect, render_template
from flask.typing import ResponseReturnValue

from jobs.datasets.generic_image import GenericImageDatasetSpec
from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.errors import EnvironmentFault
from jobs.models.generic_image import GenericImageModelSpec
from jobs.networks.starter import starter_network
from jobs.processes import child_environment
from jobs.statuses import Status
from jobs.store import JobRecord
from webapp.config import VERSION
from webapp.errors import wants_json
from webapp.job_view import job_view, table_row
from webapp.services import services

blueprint = Blueprint("home", __name__)

DIGITS_SHAPE = (1, 28, 28)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    if wants_json():
        return index_json()
    return render_template("home.html", tables=_tables())


@blueprint.get("/index.json")
def index_json() -> ResponseReturnValue:
    records = services().store.all()
    return jsonify(
        version=VERSION,
        jobs_dir=str(services().settings.jobs_dir),
        datasets=[_listed(record) for record in records if record.family == "dataset"],
        models=[_listed(record) | {"dataset_id": record.parent_id} for record in records if record.family == "model"],
    )


@blueprint.get("/completed_jobs.json")
def completed_jobs() -> ResponseReturnValue:
    return jsonify(_tables())


@blueprint.get("/jobs/<job_id>/table_data.json")
def table_data(job_id: str) -> ResponseReturnValue:
    record = services().store.get(job_id)
    return jsonify(job=_rows([record])[0])


@blueprint.post("/try-it")
def try_it() -> ResponseReturnValue:
    """Dataset, generic dataset and autoencoder of scikit-learn's handwritten digits, all queued; then the training's page."""
    scheduler = services().scheduler
    classification = scheduler.submit(
        ImageClassificationDatasetSpec(
            dataset_name="Handwritten digits",
            resize_channels=1,
            resize_width=DIGITS_SHAPE[2],
            resize_height=DIGITS_SHAPE[1],
            folder_train=str(_digit_folders()),
        )
    )
    folder = scheduler.folder(classification).path
    generic = scheduler.submit(
        GenericImageDatasetSpec(
            dataset_name="Handwritten digits, generic",
            prebuilt_train_images=str(folder / "train_db"),
            prebuilt_val_images=str(folder / "val_db"),
            prebuilt_mean_file=str(folder / "mean.binaryproto"),
        )
    )
    model = scheduler.submit(
        GenericImageModelSpec(
            model_name="Autoencoder with a 50-node code",
            dataset=generic,
            # There are few digits: at the network's own batch size an epoch would be too few steps to learn much.
            batch_size=10,
            custom_network=starter_network(DIGITS_SHAPE),
        )
    )
    job = job_view(model)
    return jsonify(id=job.id, name=job.name, status=job.status) if wants_json() else redirect(job.url)


def _digit_folders() -> Path:
    """Class folders of the digits, made the first time. In a process of its own: scikit-learn is large."""
    folder = services().settings.samples_dir / "handwritten-digits"
    if not folder.exists():
        command = [sys.executable, "-P", "-m", "jobs.storage.handwritten", str(folder)]
        made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                              env=child_environment(folder.parent, "cpu"))  # fmt: skip
        if made.returncode:
            raise EnvironmentFault(f"The pictures of the digits could not be made: {made.stderr.strip()[-500:]}")
    return folder


def _tables() -> dict[str, Any]:
    """Rows as DIGITS's tables had them: what runs, and what has ended by family; newest first."""
    rows = _rows(services().store.all())
    ended = [row for row in rows if not Status(row["status"]).is_running]
    return {
        "running": [row for row in rows if Status(row["status"]).is_running],
        "datasets": [row for row in ended if row["type"] == "dataset"],
        "models": [row for row in ended if row["type"] == "model"],
        "pretrained_models": [],
        "model_output_fields": sorted({key for row in ended for key in row if key.startswith("loss ")}),
    }


def _rows(records: list[JobRecord]) -> list[dict[str, Any]]:
    store = services().store
    changes, readers = store.first_and_last_changes(), store.child_counts()
    return [table_row(record, *changes[record.id], readers.get(record.id, 0)) for record in records]


def _listed(record: JobRecord) -> dict[str, Any]:
    return {"id": record.id, "name": record.name, "status": record.status.value}
