"""Databases that exist already become arrays that training can map."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.errors import BadDatabase, EnvironmentFault, StopRequested, UserError
from jobs.events import all_events
from jobs.storage.arrays import open_split, read_mean
from jobs.storage.classification import create
from jobs.storage.datum import array_datum, encoded_datum
from jobs.storage.images import as_image, encode
from jobs.storage.mean import write_mean_file
from jobs.storage.prebuilt import _check_free_space, analyse
from tests.conftest import until
from tests.unit.storage_jobs import (
    classification_spec,
    events_of,
    generic_spec,
    make_job,
    picture,
    save_classes,
    save_database,
    save_pictures_database,
    start_worker,
    vector_datum,
)

# The order of the bytes of the keys 0 … 11.
ORDER = sorted(range(12), key=str)


@pytest.mark.parametrize("encoding", ["png", "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_become_an_array(tmp_path: Path, encoding: Any, channels: int) -> None:
    pictures = [picture(number, 6, 7, channels) for number in range(12)]
    database = save_pictures_database(tmp_path / "db", pictures, encoding)
    job = make_job(tmp_path, generic_spec(database))
    analyse(job)
    split = open_split(job.folder, "train")
    assert isinstance(split.images, np.memmap)
    assert split.images.dtype == np.uint8
    np.testing.assert_array_equal(split.images, [pictures[number] for number in ORDER])
    assert split.labels.tolist() == [number % 3 for number in ORDER]
    assert split.labels.dtype == np.int64
    assert split.label_shape == ()
    assert read_mean(job.folder) is None
    with pytest.raises(BadDatabase, match="no images for 'val'"):
        open_split(job.folder, "val")


def test_what_the_dataset_says_of_itself(tmp_path: Path) -> None:
    train = save_pictures_database(tmp_path / "train", [picture(number, 6, 7) for number in range(12)])
    val = save_pictures_database(tmp_path / "val", [picture(number, 6, 7) for number in range(4)], "none")
    job = make_job(tmp_path, generic_spec(train, prebuilt_val_images=str(val)))
    analyse(job)
    dataset = job.folder.read_dataset()
    assert (dataset["image_shape"], dataset["dtype"], dataset["mean"]) == ([1, 6, 7], "uint8", None)
    assert dataset["splits"]["val"] == {
        "images_db": str(val),
        "labels_db": None,
        "entries": 4,
        "images": "val_images.npy",
        "labels": "val_labels.npy",
        "label_shape": [],
        "distribution": {"0": 2, "1": 1, "2": 1},
        "stored": "raw",
    }
    analysed = events_of(job, "analysed")
    assert [event["role"] for event in analysed] == ["train_images", "val_images"]
    assert (analysed[0]["entries"], analysed[0]["shape"], analysed[0]["stored"]) == (12, [1, 6, 7], "encoded")
    assert events_of(job, "progress")[-1]["fraction"] == 1.0


def test_what_a_classification_job_made_is_taken(tmp_path: Path) -> None:
    made = make_job(
        tmp_path, classification_spec(save_classes(tmp_path / "pictures", a=6, b=6)), "20151111-210842-0000"
    )
    create(made)
    folder = made.folder.path
    spec = generic_spec(
        folder / "train_db",
        prebuilt_val_images=str(folder / "val_db"),
        prebuilt_mean_file=str(folder / "mean.binaryproto"),
    )
    job = make_job(tmp_path, spec)
    analyse(job)
    split = open_split(job.folder, "train")
    mean = read_mean(job.folder)
    assert mean is not None
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, np.rint(split.images.mean(axis=0)))
    assert (job.folder.path / "mean.jpg").exists()
    assert events_of(job, "mean")[0]["file"] == "mean.jpg"


def test_floats_stay_floats(tmp_path: Path) -> None:
    values = [np.full((3, 2, 2), number / 7, np.float32) for number in range(12)]
    for value in values:
        value[0] = -1
    job = make_job(tmp_path, generic_spec(save_database(tmp_path / "db", [array_datum(value) for value in values])))
    analyse(job)
    assert job.folder.read_dataset()["dtype"] == "float32"
    np.testing.assert_array_equal(open_split(job.folder, "train").images, [values[number] for number in ORDER])


def test_a_database_of_label_vectors(tmp_path: Path) -> None:
    images = save_pictures_database(tmp_path / "images", [picture(number) for number in range(12)])
    vectors = [vector_datum(np.array([number, number / 2], np.float32)) for number in range(12)]
    labels = save_database(tmp_path / "labels", vectors)
    job = make_job(tmp_path, generic_spec(images, prebuilt_train_labels=str(labels)))
    analyse(job)
    split = open_split(job.folder, "train")
    assert split.label_shape == (2,)
    np.testing.assert_array_equal(split.labels, np.array([[n, n / 2] for n in ORDER], np.float32))
    assert [event["role"] for event in events_of(job, "analysed")] == ["train_images", "train_labels"]
    assert job.folder.read_dataset()["splits"]["train"]["distribution"] is None


def test_a_database_of_label_pictures(tmp_path: Path) -> None:
    pictures = [picture(number, 6, 7, 3) for number in range(12)]
    images = save_pictures_database(tmp_path / "images", pictures)
    labels = save_pictures_database(tmp_path / "labels", [255 - pixels[:1] for pixels in pictures])
    job = make_job(tmp_path, generic_spec(images, prebuilt_train_labels=str(labels)))
    analyse(job)
    split = open_split(job.folder, "train")
    assert split.label_shape == (1, 6, 7)
    np.testing.assert_array_equal(split.labels, 255 - split.images[:, :1])


def failure(tmp_path: Path, spec: Any) -> str:
    job = make_job(tmp_path, spec)
    with pytest.raises(UserError) as failed:
        analyse(job)
    assert not [path for path in job.folder.path.iterdir() if "npy" in path.name or path.name == "dataset.json"]
    return str(failed.value)


def test_other_shapes_are_refused_when_one_is_enforced(tmp_path: Path) -> None:
    pictures = [picture(number) for number in range(12)]
    pictures[7] = picture(7, 28, 32)
    said = failure(tmp_path, generic_spec(save_pictures_database(tmp_path / "db", pictures)))
    assert said.startswith("Images with different shapes found: 28x28x1 and 32x28x1")
    assert 'record "7"' in said


def test_other_shapes_are_resized_otherwise(tmp_path: Path) -> None:
    pictures = [picture(number) for number in range(12)]
    pictures[7] = np.full((3, 40, 32), 77, np.uint8)
    pictures[8] = np.full((1, 20, 20), 99, np.uint8)
    database = save_pictures_database(tmp_path / "db", pictures, "none")
    job = make_job(tmp_path, generic_spec(database, force_same_shape=False))
    analyse(job)
    images = open_split(job.folder, "train").images
    assert np.unique(images[ORDER.index(7)]).tolist() == [77]
    assert np.unique(images[ORDER.index(8)]).tolist() == [99]
    (message,) = events_of(job, "message")
    assert message["level"] == "warning"
    assert "2 of 12 training images had another shape" in message["text"]


def test_a_datum_without_sizes_is_measured_by_its_picture(tmp_path: Path) -> None:
    content = encode(as_image(picture(1, 5, 6)), "png")
    job = make_job(tmp_path, generic_spec(save_database(tmp_path / "db", [encoded_datum(content, (0, 0, 0), 1)])))
    analyse(job)
    assert open_split(job.folder, "train").images.shape == (1, 1, 5, 6)


def test_labels_must_have_the_number_and_the_keys_of_the_images(tmp_path: Path) -> None:
    images = save_pictures_database(tmp_path / "images", [picture(number) for number in range(3)])
    vector = vector_datum(np.zeros(2, np.float32))
    fewer = save_database(tmp_path / "fewer", [vector] * 2)
    assert "has 2 records and the image database" in failure(
        tmp_path / "1", generic_spec(images, prebuilt_train_labels=str(fewer))
    )
    others = save_database(tmp_path / "others", [vector] * 3, [b"0", b"1", b"3"])
    said = failure(tmp_path / "2", generic_spec(images, prebuilt_train_labels=str(others)))
    assert 'image\'s key is "2" and the label\'s is "3"' in said
    odd = save_database(tmp_path / "odd", [vector, vector, vector_datum(np.zeros(5, np.float32))])
    said = failure(tmp_path / "3", generic_spec(images, prebuilt_train_labels=str(odd)))
    assert "Labels with different shapes found: 2 of float32 and 5 of float32" in said


def test_validation_must_have_the_shape_of_training(tmp_path: Path) -> None:
    train = save_pictures_database(tmp_path / "train", [picture(1)])
    val = save_pictures_database(tmp_path / "val", [picture(1, 32, 30)])
    said = failure(tmp_path, generic_spec(train, prebuilt_val_images=str(val)))
    assert "training images are 28x28x1 and the validation images are 30x32x1" in said


def test_the_mean_must_have_the_shape_of_the_images(tmp_path: Path) -> None:
    write_mean_file(tmp_path / "m.binaryproto", np.zeros((3, 28, 30)))
    database = save_pictures_database(tmp_path / "db", [picture(1)])
    said = failure(tmp_path, generic_spec(database, prebuilt_mean_file=str(tmp_path / "m.binaryproto")))
    assert "is 30x28x3 and the images are 28x28x1" in said


def test_a_record_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    values = [array_datum(picture(number), encoding="png") for number in range(12)]
    values[5] = encoded_datum(b"spoilt", (1, 28, 28), 0)
    assert 'Record "5" of the database' in failure(tmp_path, generic_spec(save_database(tmp_path / "db", values)))


def test_a_record_of_floats_among_bytes_is_named(tmp_path: Path) -> None:
    values = [array_datum(picture(0)), array_datum(picture(1).astype(np.float32))]
    assert 'Record "1"' in failure(tmp_path, generic_spec(save_database(tmp_path / "db", values)))


def test_a_cut_off_database_fails_with_a_sentence(tmp_path: Path) -> None:
    database = save_pictures_database(tmp_path / "db", [picture(number) for number in range(200)])
    os.truncate(database / "data.mdb", 80_000)
    assert "cut off" in failure(tmp_path, generic_spec(database))


def test_damaged_pages_fail_with_a_sentence(tmp_path: Path) -> None:
    database = save_pictures_database(tmp_path / "db", [picture(number) for number in range(3000)])
    path = database / "data.mdb"
    content = bytearray(path.read_bytes())
    content[40 * 4096 :] = b"\xff" * (len(content) - 40 * 4096)
    path.write_bytes(content)
    job = make_job(tmp_path, generic_spec(database))
    worker = start_worker(job.folder)
    assert worker.wait(60) != 0
    failed = list(all_events(job.folder.events))[-1]
    assert (failed["type"], "damaged" in failed["cause"]) == ("failed", True), failed


def test_too_little_disk_is_told_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"need 1,000,000\.00 GB and the disk .* has [\d.,]+ GB free"):
        _check_free_space(tmp_path, 10**15)


def test_a_stop_leaves_no_arrays(tmp_path: Path) -> None:
    job = make_job(tmp_path, generic_spec(save_pictures_database(tmp_path / "db", [picture(1)])))
    job.stop.set()
    with pytest.raises(StopRequested):
        analyse(job)
    assert not list(job.folder.path.glob("*npy*")) + list(job.folder.path.glob(".*"))


def test_a_signal_to_the_group_stops_the_job(tmp_path: Path) -> None:
    # Large pictures that are brought to the size of a small first one take long, and little disk.
    large = array_datum(np.zeros((3, 2000, 2000), np.uint8), encoding="png")
    values = [array_datum(picture(1)), *[large] * 600]
    job = make_job(tmp_path, generic_spec(save_database(tmp_path / "db", values), force_same_shape=False))
    worker = start_worker(job.folder)
    until(lambda: list(job.folder.path.glob(".*npy*")), 60, "arrays are being filled")
    os.killpg(worker.pid, signal.SIGTERM)
    assert worker.wait(60) == 0
    assert list(all_events(job.folder.events))[-1]["type"] == "stopped"
    assert not list(job.folder.path.glob("*npy*")) + list(job.folder.path.glob(".*"))
