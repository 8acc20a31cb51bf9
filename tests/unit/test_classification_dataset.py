"""A folder of class folders becomes databases, as DIGITS made them."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import psutil
import pytest
from PIL import Image

from jobs.errors import StopRequested, UserError
from jobs.events import all_events
from jobs.storage.class_folders import split_counts
from jobs.storage.classification import create
from jobs.storage.database import open_database
from jobs.storage.mean import read_mean_file
from tests.conftest import until
from tests.unit.storage_jobs import (
    classification_spec,
    events_of,
    make_job,
    picture,
    read_json,
    save_classes,
    save_picture,
    start_worker,
)

MNIST_TRAIN_CLASS_SIZES = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """12 bees, 8 tree frogs, and one picture that is alone in its class."""
    return save_classes(tmp_path / "pictures", tree_frog=8, bee=12, alone=1)


def test_mnist_splits_as_digits_split_it() -> None:
    counts = [split_counts(size, 25, 0) for size in MNIST_TRAIN_CLASS_SIZES]
    assert [sum(column) for column in zip(*counts, strict=True)] == [45002, 14998, 0]


@pytest.mark.parametrize(
    ("size", "pct_val", "pct_test", "counts"),
    [
        (8, 25, 0, (6, 2, 0)),
        (10, 25, 0, (8, 2, 0)),
        (2, 25, 0, (1, 1, 0)),
        (1, 25, 25, (1, 0, 0)),
        (3, 25, 25, (1, 1, 1)),
        (100, 1, 1, (98, 1, 1)),
        (7, 0, 0, (7, 0, 0)),
        (10, 33.3, 33.3, (3, 3, 4)),
        (5, 0, 10, (4, 0, 1)),
    ],
)
def test_shares_of_a_class(size: int, pct_val: float, pct_test: float, counts: tuple[int, int, int]) -> None:
    # 10 of 25 %: 7.5 becomes 8 first, and validation gets what is left.
    assert split_counts(size, pct_val, pct_test) == counts


def test_a_folder_becomes_databases_with_lists_and_a_mean(tmp_path: Path, pictures: Path) -> None:
    job = make_job(tmp_path, classification_spec(pictures))
    create(job)
    dataset = job.folder.read_dataset()
    assert dataset["labels"] == ["bee", "tree frog"]
    assert dataset["image_shape"] == [1, 28, 28]
    assert dataset["splits"]["train"] == {"db": "train_db", "entries": 15, "distribution": [9, 6], "skipped": 0}
    assert dataset["splits"]["val"]["distribution"] == [3, 2]
    assert "test" not in dataset["splits"]
    folder = job.folder.path
    assert (folder / "labels.txt").read_text() == "bee\ntree frog\n"

    arrays = []
    lines = (folder / "train.txt").read_text().splitlines()
    with open_database(folder / "train_db") as database:
        for number, record in enumerate(database.records(0, 99)):
            path, label = lines[number].rsplit(" ", 1)
            assert record.key == f"{number:08d}_{label}"
            assert record.label == int(label)
            assert Path(path).parent.name == ["bee", "tree_frog"][record.label]
            # A picture that is right as it is is stored byte for byte.
            assert record.datum.data == Path(path).read_bytes()
            arrays.append(record.image())
    mean = np.rint(np.mean(arrays, axis=0))
    np.testing.assert_array_equal(read_mean_file(folder / "mean.binaryproto"), mean)
    with Image.open(folder / "mean.jpg") as image:
        assert image.size == (28, 28)


def test_events_tell_what_happens(tmp_path: Path, pictures: Path) -> None:
    job = make_job(tmp_path, classification_spec(pictures, folder_pct_test=10))
    create(job)
    (parsed,) = events_of(job, "parsed")
    assert (parsed["labels"], parsed["train_count"], parsed["val_count"], parsed["test_count"]) == (
        ["bee", "tree frog"], 13, 5, 2)  # fmt: skip
    databases = {event["db"]: event for event in events_of(job, "database")}
    assert list(databases) == ["train_db", "val_db", "test_db"]
    assert {key: databases["train_db"][key] for key in ("entries", "width", "height", "channels", "encoding")} == {
        "entries": 13, "width": 28, "height": 28, "channels": 1, "encoding": "png"}  # fmt: skip
    last = events_of(job, "progress")[-1]
    assert (last["fraction"], last["done"], last["total"], last["phase"]) == (1.0, 2, 2, "Create test_db")
    assert [event["counts"] for event in events_of(job, "distribution") if event["db"] == "train_db"][-1] == [8, 5]
    assert "alone (1)" in events_of(job, "message")[0]["text"]
    assert events_of(job, "mean")[0]["file"] == "mean.jpg"


def test_the_same_job_gives_the_same_databases(tmp_path: Path, pictures: Path) -> None:
    contents = []
    for parent in ("one", "other"):
        job = make_job(tmp_path / parent, classification_spec(pictures))
        create(job)
        with open_database(job.folder.path / "train_db") as database:
            contents.append(list(database.items()))
    assert contents[0] == contents[1]


@pytest.mark.parametrize("encoding", ["png", "jpg", "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_encodings(tmp_path: Path, encoding: str, channels: int) -> None:
    folder = tmp_path / "pictures"
    for number in range(4):
        save_picture(folder / f"class {number % 2}" / f"{number}.bmp", picture(number, 20, 24, channels))
    changes = {"encoding": encoding, "resize_channels": channels, "resize_width": 24, "resize_height": 20}
    job = make_job(tmp_path, classification_spec(folder, folder_pct_val=0, **changes))
    create(job)
    with open_database(job.folder.path / "train_db") as database:
        records = list(database.records(0, 9))
    assert {record.datum.encoded for record in records} == {encoding != "none"}
    for line, record in zip((job.folder.path / "train.txt").read_text().splitlines(), records, strict=True):
        pixels = record.image()
        number = int(Path(line.rsplit(" ", 1)[0]).stem)
        assert pixels.shape == (channels, 20, 24)
        if encoding != "jpg":
            np.testing.assert_array_equal(pixels, picture(number, 20, 24, channels))


def test_minimum_and_maximum_of_a_class(tmp_path: Path) -> None:
    folder = save_classes(tmp_path / "pictures", a=3, b=9, c=6)
    changes = {"folder_train_min_per_class": 4, "folder_train_max_per_class": 7, "folder_pct_val": 0}
    job = make_job(tmp_path, classification_spec(folder, **changes))
    create(job)
    dataset = job.folder.read_dataset()
    assert dataset["labels"] == ["b", "c"]
    assert dataset["splits"]["train"]["distribution"] == [7, 6]


def test_folders_of_their_own_for_validation_and_test(tmp_path: Path, pictures: Path) -> None:
    val = save_classes(tmp_path / "val", bee=4, unknown=5)
    test = save_classes(tmp_path / "test", bee=2, tree_frog=3)
    changes = {"has_val_folder": True, "folder_val": str(val), "has_test_folder": True, "folder_test": str(test)}
    job = make_job(tmp_path, classification_spec(pictures, **changes))
    create(job)
    splits = job.folder.read_dataset()["splits"]
    assert {name: facts["distribution"] for name, facts in splits.items()} == {
        "train": [12, 8], "val": [4, 0], "test": [2, 3]}  # fmt: skip
    assert any("unknown (5)" in event["text"] for event in events_of(job, "message"))


def test_pictures_are_found_at_any_depth_and_hidden_ones_are_not(tmp_path: Path, pictures: Path) -> None:
    save_picture(pictures / "bee" / "deep" / "deeper" / "X.PNG", picture(1))
    save_picture(pictures / "bee" / ".hidden.png", picture(2))
    save_picture(pictures / ".thumbnails" / "x.png", picture(2))
    (pictures / "bee" / "notes.txt").write_text("no picture")
    (pictures / "bee" / "circle").symlink_to(pictures)
    job = make_job(tmp_path, classification_spec(pictures, folder_pct_val=0))
    create(job)
    # The link leads to the other classes once more, and not for ever.
    assert job.folder.read_dataset()["labels"] == ["bee", "tree frog"]
    train = (job.folder.path / "train.txt").read_text()
    assert "deeper/X.PNG" in train
    assert "hidden" not in train
    assert "thumbnails" not in train


def test_files_that_cannot_be_read_are_skipped_with_reasons(tmp_path: Path, pictures: Path) -> None:
    (pictures / "bee" / "text.png").write_bytes(b"no picture")
    (pictures / "bee" / "cut.png").write_bytes((pictures / "bee" / "000.png").read_bytes()[:100])
    (pictures / "bee" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    job = make_job(tmp_path, classification_spec(pictures, folder_pct_val=0))
    create(job)
    train = job.folder.read_dataset()["splits"]["train"]
    assert (train["entries"], train["skipped"]) == (20, 3)
    events = events_of(job, "skipped")
    reasons = {Path(file["path"]).name: file["reason"] for event in events for file in event["files"]}
    assert events[-1]["count"] == 3
    assert "no picture" in reasons["text.png"]
    assert "damaged" in reasons["cut.png"]
    assert "no picture" in reasons["caf\ufffd.png"]


def spoil_all(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.write_bytes(b"spoilt")


def remove_one_class(folder: Path) -> None:
    (folder / "bee").rename(folder.parent / "elsewhere")


def make_a_twin(folder: Path) -> None:
    save_picture(folder / "tree frog" / "1.png", picture(1))


def remove_the_folder(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spoil_all, "None of the 15 pictures for train_db could be read"),
        (remove_one_class, r"two or more class folders .* alone \(1\), tree frog \(8\)"),
        (make_a_twin, 'of one class, "tree frog"'),
        (remove_the_folder, "cannot be read: No such file"),
    ],
)
def test_a_folder_that_makes_no_dataset(
    tmp_path: Path, pictures: Path, change: Callable[[Path], None], words: str
) -> None:
    change(pictures)
    job = make_job(tmp_path, classification_spec(pictures))
    with pytest.raises(UserError, match=words):
        create(job)
    assert not job.folder.dataset.exists()
    assert not list(job.folder.path.glob("*_db")) + list(job.folder.path.glob(".*"))


def test_a_stop_between_chunks_leaves_no_database(tmp_path: Path, pictures: Path) -> None:
    job = make_job(tmp_path, classification_spec(pictures))
    job.stop.set()
    with pytest.raises(StopRequested):
        create(job)
    assert not list(job.folder.path.glob("*_db")) + list(job.folder.path.glob(".*"))


@pytest.fixture
def slow_pictures(tmp_path: Path) -> Path:
    """Pictures that take a worker many seconds: few files, many links to them."""
    folder = tmp_path / "slow"
    source = save_picture(tmp_path / "source.png", picture(1, 1500, 1500, 3))
    for number in range(600):
        path = folder / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(source)
    return folder


def children_at_work(pid: int) -> list[psutil.Process]:
    """The processes of the pool, once each of them has done something."""
    children = psutil.Process(pid).children()
    return children if children and all(child.cpu_times().user > 0.1 for child in children) else []


@pytest.fixture
def slow_job(tmp_path: Path, slow_pictures: Path) -> Any:
    spec = classification_spec(slow_pictures, resize_channels=3, resize_width=256, resize_height=256)
    return make_job(tmp_path, spec)


def test_a_signal_to_the_group_stops_the_job_and_its_children(slow_job: Any) -> None:
    worker = start_worker(slow_job.folder)
    children = until(lambda: children_at_work(worker.pid), 60, "children at work")
    os.killpg(worker.pid, signal.SIGTERM)
    assert worker.wait(60) == 0
    assert [event["type"] for event in all_events(slow_job.folder.events)][-1] == "stopped"
    until(lambda: not any(child.is_running() for child in children), 60, "children are gone")
    assert not list(slow_job.folder.path.glob("*_db")) + list(slow_job.folder.path.glob(".*"))


def test_children_do_not_outlive_a_killed_worker(slow_job: Any) -> None:
    worker = start_worker(slow_job.folder)
    children = until(lambda: children_at_work(worker.pid), 60, "children at work")
    worker.kill()
    worker.wait(60)
    until(lambda: not any(child.is_running() for child in children), 60, "children are gone")


def test_a_worker_one_of_whose_children_is_killed_shares_its_fate(slow_job: Any) -> None:
    """So that the job is begun anew, as it is where the worker itself is killed."""
    worker = start_worker(slow_job.folder)
    children = until(lambda: children_at_work(worker.pid), 60, "children at work")
    children[0].kill()
    assert worker.wait(60) == -signal.SIGKILL
    assert "ended from outside (SIGKILL)" in slow_job.folder.log.read_text()
    assert not events_of(slow_job, "failed")
    until(lambda: not any(child.is_running() for child in children), 60, "children are gone")


def test_a_child_that_crashes_ends_the_job_with_a_sentence(slow_job: Any) -> None:
    worker = start_worker(slow_job.folder)
    children = until(lambda: children_at_work(worker.pid), 60, "children at work")
    children[0].send_signal(signal.SIGSEGV)
    assert worker.wait(60) == 1
    (failed,) = events_of(slow_job, "failed")
    assert "ended from outside (SIGSEGV)" in failed["cause"]
    assert not list(slow_job.folder.path.glob("*_db")) + list(slow_job.folder.path.glob(".*"))


def test_a_database_of_ours_is_one_that_lmdb_opens(tmp_path: Path, pictures: Path) -> None:
    job = make_job(tmp_path, classification_spec(pictures))
    create(job)
    with lmdb.open(str(job.folder.path / "val_db"), readonly=True, lock=False) as environment:
        assert environment.stat()["entries"] == 5
    assert read_json(job.folder.dataset)["mean_file"] == "mean.binaryproto"
