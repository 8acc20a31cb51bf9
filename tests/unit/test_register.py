"""A job has a folder and a row, or neither."""

from pathlib import Path

import pytest

from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.errors import Refused
from jobs.scheduling.register import Register
from jobs.statuses import Status
from jobs.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


@pytest.fixture
def jobs_dir(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs"


def entered(register: Register, tmp_path: Path) -> str:
    spec = ImageClassificationDatasetSpec(dataset_name="digits", folder_train=str(tmp_path))
    return register.enter(spec, owner=None, private=False)


def test_a_job_that_cannot_be_listed_leaves_no_folder(tmp_path: Path, jobs_dir: Path, store: Store) -> None:
    store.close()
    with pytest.raises(Exception, match="closed"):
        entered(Register(jobs_dir, store), tmp_path)
    assert list(jobs_dir.iterdir()) == []


def test_a_job_from_which_another_was_made_in_the_same_moment_keeps_its_folder(
    tmp_path: Path, jobs_dir: Path, store: Store
) -> None:
    register = Register(jobs_dir, store)
    job_id = entered(register, tmp_path)
    store.move(job_id, Status.INITIALIZED, Status.DONE, 1.0)
    job = store.get(job_id)
    store.add("reader", "generic-image-model", "model", "LeNet", "", 2.0, job_id)
    with pytest.raises(Refused, match="another job was made of it"):
        register.strike(job)
    assert [path.name for path in jobs_dir.iterdir()] == [job_id]
    assert register.folder(job_id).spec.exists()


def test_a_job_whose_folder_somebody_has_removed_can_be_forgotten(tmp_path: Path, jobs_dir: Path, store: Store) -> None:
    register = Register(jobs_dir, store)
    job_id = entered(register, tmp_path)
    store.move(job_id, Status.INITIALIZED, Status.DONE, 1.0)
    register.folder(job_id).path.rename(tmp_path / "elsewhere")
    register.strike(store.get(job_id))
    assert store.names(None) == []
