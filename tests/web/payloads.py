"""One valid request of each kind; a test changes what it is about."""

from pathlib import Path
from typing import Any

from jobs.networks.starter import starter_network


def classification(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "dataset_name": "digits",
        "method": "folder",
        "folder_train": str(folder),
        "resize_channels": "1",
        "resize_width": "28",
        "resize_height": "28",
        "encoding": "png",
        **changes,
    }


def long_classification(folder: Path) -> dict[str, Any]:
    """A dataset that is at work for as long as a test likes, and ends within a picture when it is aborted."""
    return classification(folder, dataset_name="long", resize_width="4096", resize_height="4096")


def generic(dataset_folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "dataset_name": "digits, generic",
        "method": "prebuilt",
        "prebuilt_train_images": str(dataset_folder / "train_db"),
        "prebuilt_val_images": str(dataset_folder / "val_db"),
        "prebuilt_mean_file": str(dataset_folder / "mean.binaryproto"),
        **changes,
    }


def model(dataset_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "model_name": "autoencoder",
        "dataset": dataset_id,
        "method": "custom",
        "framework": "pytorch",
        "custom_network": starter_network((1, 28, 28)),
        "train_epochs": "2",
        "random_seed": "1",
        **changes,
    }
