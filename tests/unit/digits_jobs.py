"""Job folders of real digits, small, for tests: a generic dataset as a dataset job leaves it, and models of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from jobs.events import EventWriter, all_events
from jobs.folder import JobFolder
from jobs.models.generic_image import GenericImageModelSpec
from jobs.networks.starter import starter_network
from jobs.worker import WorkerJob

DATASET = "20250101-000000-da7a"
MODEL = "20250101-000000-0de1"


def digits(count: int) -> np.ndarray:
    """The first of scikit-learn's digits as N×1×28×28 bytes, dark on light as DIGITS wrote them."""
    images = load_digits().images[:count]
    scaled = [Image.fromarray((255 - image * 15.9).astype(np.uint8)).resize((28, 28)) for image in images]
    return np.stack([np.asarray(image) for image in scaled])[:, None]


def make_dataset(jobs_dir: Path, train: int = 96, val: int = 32, mean: bool = True) -> JobFolder:
    """A generic image dataset; its labels are the digits."""
    folder = JobFolder(jobs_dir / DATASET)
    folder.path.mkdir(parents=True)
    images, labels = digits(train + val), load_digits().target[: train + val].astype(np.int64)
    splits = {}
    for split, part in {"train": slice(0, train), "val": slice(train, train + val)}.items():
        if not len(labels[part]):
            continue
        np.save(folder.path / f"{split}_images.npy", images[part])
        np.save(folder.path / f"{split}_labels.npy", labels[part])
        splits[split] = {
            "images_db": "",
            "labels_db": None,
            "entries": len(labels[part]),
            "images": f"{split}_images.npy",
            "labels": f"{split}_labels.npy",
            "label_shape": [],
            "distribution": None,
            "stored": "encoded",
        }
    if mean:
        np.save(folder.path / "mean.npy", images[:train].mean(0).astype(np.float32))
    dataset = {
        "image_shape": [1, 28, 28],
        "dtype": "uint8",
        "splits": splits,
        "mean": "mean.npy" if mean else None,
        "mean_picture": None,
        "mean_file": None,
    }
    folder.dataset.write_text(json.dumps(dataset))
    return folder


def model_job(jobs_dir: Path, **changes: Any) -> WorkerJob:
    """A model job as the worker gets it: two epochs of the starter network on the dataset, seed 1."""
    given = {
        "model_name": "autoencoder",
        "dataset": DATASET,
        "custom_network": starter_network((1, 28, 28)),
        "train_epochs": 2,
        "random_seed": 1,
        **changes,
    }
    spec = GenericImageModelSpec.model_validate(given)
    folder = JobFolder(jobs_dir / MODEL)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.spec.write_text(spec.model_dump_json())
    return WorkerJob(folder, spec, EventWriter(folder.events))


def events_of(job: WorkerJob, type: str) -> list[dict[str, Any]]:
    return [event for event in all_events(job.folder.events) if event["type"] == type]


def curve(job: WorkerJob, column: str = "loss") -> list[Any]:
    """A column of the training curve, all points."""
    return [value for event in events_of(job, "train") for value in event[column]]
