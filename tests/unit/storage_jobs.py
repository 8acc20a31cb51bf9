"""Dataset jobs for tests: done here and now, or by a worker process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.datasets.generic_image import GenericImageDatasetSpec
from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.events import Event, EventWriter, all_events
from jobs.folder import JobFolder
from jobs.specs import EVERYWHERE, JobSpec, ServerPaths
from jobs.storage.database import DatabaseWriter
from jobs.storage.datum import array_datum, parse_datum
from jobs.worker import WorkerJob

JOB_ID = "20151111-210842-a4ec"


def make_job(parent: Path, spec: JobSpec, job_id: str = JOB_ID, paths: ServerPaths = EVERYWHERE) -> WorkerJob:
    folder = JobFolder(parent / job_id)
    folder.path.mkdir(parents=True)
    folder.spec.write_text(spec.model_dump_json())
    return WorkerJob(folder, spec, EventWriter(folder.events), paths=paths)


def classification_spec(folder: Path, **changes: Any) -> ImageClassificationDatasetSpec:
    fields = {
        "dataset_name": "pictures",
        "folder_train": str(folder),
        "resize_channels": 1,
        "resize_width": 28,
        "resize_height": 28,
    }
    return ImageClassificationDatasetSpec(**fields | changes)


def generic_spec(images: Path, **changes: Any) -> GenericImageDatasetSpec:
    return GenericImageDatasetSpec(**{"dataset_name": "records", "prebuilt_train_images": str(images)} | changes)


def events_of(job: WorkerJob, kind: str) -> list[Event]:
    return [event for event in all_events(job.folder.events) if event["type"] == kind]


def start_worker(folder: JobFolder) -> subprocess.Popen[bytes]:
    """The worker as the server starts it: in a session of its own."""
    command = [sys.executable, "-P", "-m", "jobs.worker", str(folder.path)]
    return subprocess.Popen(command, start_new_session=True, stdout=folder.log.open("wb"), stderr=subprocess.STDOUT)


def picture(seed: int, height: int = 28, width: int = 28, channels: int = 1) -> NDArray[np.uint8]:
    """Pixels (C, H, W) that differ from seed to seed."""
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width), np.uint8)


def save_picture(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(path)
    return path


def save_classes(folder: Path, **counts: int) -> Path:
    """Class folders with so many grey 28×28 PNGs each."""
    for class_number, (label, count) in enumerate(counts.items()):
        for number in range(count):
            save_picture(folder / label / f"{number:03d}.png", picture(1000 * class_number + number))
    return folder


def save_database(folder: Path, values: list[bytes], keys: list[bytes] | None = None) -> Path:
    """A database of these records; their keys are as DIGITS's test data had them: 0, 1, 2, … as text."""
    items = zip(keys or [b"%d" % number for number in range(len(values))], values, strict=True)
    with DatabaseWriter(folder) as writer:
        writer.put(sorted(items))
    return folder


def save_pictures_database(folder: Path, pictures: list[NDArray[np.uint8]], encoding: Any = "png") -> Path:
    return save_database(folder, [array_datum(pixels, number % 3, encoding) for number, pixels in enumerate(pictures)])


def vector_datum(values: NDArray[np.float32]) -> bytes:
    """A record of a label database: a vector."""
    datum = parse_datum(b"")
    datum.channels = datum.height = 1
    datum.width = len(values)
    datum.float_data.extend(values.tolist())
    return datum.SerializeToString()


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
