"""A disk that fills up: a real one, of a few megabytes in memory. Trainings wait and go on when there is room, datasets leave
nothing, and the server goes on."""

import html
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import DISK_FULL
from tests.conftest import until, wait_for_job, worker_pid
from tests.crash.test_serve import refusal
from tests.web import payloads
from tests.web.conftest import Site
from tests.web.test_models import HEAD, LONG
from webapp import create_app
from webapp.config import Settings
from webapp.services import Services

DISK_BYTES = 24 << 20

LARGE = f"""{HEAD}
def network(params):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 1000), nn.Linear(1000, 784), nn.Unflatten(1, (1, 28, 28)))
    return dict(model=model, loss=nn.MSELoss(), label_hook=lambda input, label: input)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("There is no command mount here.")
    if mounted.returncode:
        pytest.skip(f"No disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def site(small_disk: Path, tmp_path: Path, digit_folders: Path) -> Iterator[Site]:
    """A site whose jobs are on the small disk; the pictures are not."""
    app = create_app(Settings(data_dir=small_disk, data_roots=(tmp_path, digit_folders)))
    services: Services = app.extensions["layerscope"]
    services.scheduler.start()
    yield Site(app.test_client(), services, digit_folders)
    (small_disk / "ballast").unlink(missing_ok=True)
    for job in services.store.active():
        services.scheduler.abort(job.id)
    until(lambda: not services.store.active(), 40, "no job runs any more")
    services.close()


def test_a_data_directory_on_a_disk_that_is_read_only_is_refused(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = refusal("--port", "0", "--data-dir", str(small_disk))
    assert f"The data directory {small_disk} cannot be used: Read-only file system." in said
    assert "--data-dir" in said


def fill(disk: Path, leave: int = 0) -> Path:
    """Take what is free on the disk, but for `leave` bytes; the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            if leave:
                file.truncate(file.tell() - leave)
    return ballast


def generic(site: Site) -> str:
    """A dataset to learn from, on the small disk."""
    classification = site.done(site.make_classification(site.digits))
    return site.done(site.make_generic(site.folder(classification).path))


def test_a_database_that_does_not_fit_leaves_nothing_and_the_next_job_is_done(site: Site) -> None:
    big = {"encoding": "none", "resize_width": "512", "resize_height": "512", "resize_channels": "3"}
    job_id = site.make_classification(site.digits, **big)
    cause = site.cause_on_page(job_id)
    assert cause == DISK_FULL
    assert not {path.name for path in site.folder(job_id).path.iterdir()} & {
        "train_db",
        ".train_db.tmp",
        "dataset.json",
    }
    site.done(site.make_classification(site.digits))


def test_decoded_images_that_do_not_fit_are_refused_before_the_work(site: Site, small_disk: Path) -> None:
    classification = site.done(site.make_classification(site.digits))
    fill(small_disk, leave=100_000)
    job_id = site.make_generic(site.folder(classification).path)
    assert "Delete jobs that nobody needs" in site.cause_on_page(job_id)
    assert not site.folder(job_id).dataset.exists()


def remark(site: Site, job_id: str) -> str:
    """What is said of the job beside its status, once it is at work."""
    site.until_event(job_id, "started")
    status = site.client.get(f"/jobs/{job_id}/events").get_json()["status"]
    assert (status["status"], status["cause"]) == ("Running", None)
    return status["remark"] or ""


def test_a_snapshot_that_does_not_fit_waits_for_room_and_goes_on(site: Site, small_disk: Path) -> None:
    job_id = site.make_model(dataset=generic(site), custom_network=LARGE, learning_rate="1e-9", train_epochs="5")
    until(lambda: "Waits for room on the disk: the snapshot of epoch" in remark(site, job_id), 60)
    epochs = site.folder(job_id).snapshot_epochs()
    assert 1 <= len(epochs) < 5
    assert site.half_files(job_id) == []
    digit = min(site.digits.rglob("*.png"))
    url, form = "/models/images/generic/infer_one.json", {"job_id": job_id}
    answer = site.client.post(url, data=form | {"image_path": str(digit)})
    assert answer.status_code == 200, answer.get_json()
    # Each time that it tries again it takes all room for a moment, and gives it back.
    worker = worker_pid(site.services.scheduler, job_id)
    os.killpg(worker, signal.SIGSTOP)
    fill(small_disk)
    with digit.open("rb") as file:
        answer = site.client.post(url, data=form | {"image_file": (file, "digit.png")})
    os.killpg(worker, signal.SIGCONT)
    assert answer.status_code == 500
    assert answer.get_json()["error"]["message"] == DISK_FULL
    assert list(site.services.settings.uploads_dir.iterdir()) == []
    subprocess.run(["mount", "-o", f"remount,size={10 * DISK_BYTES}", str(small_disk)], check=True)
    site.done(job_id)
    assert site.folder(job_id).snapshot_epochs() == [1, 2, 3, 4, 5]
    assert len(site.events(job_id, "started")) == 1, "it has lost nothing of what it had learnt"
    assert "and went on" in site.events(job_id, "message")[-1]["text"]


def test_a_job_that_cannot_be_kept_is_not_made_and_its_form_is(site: Site, small_disk: Path) -> None:
    site.done(site.make_classification(site.digits))
    before = site.job_ids()
    ballast = fill(small_disk)
    form = payloads.classification(site.digits, dataset_name="typed with care")
    page = site.client.post("/datasets/images/classification", data=form)
    assert page.status_code == 507
    text = html.unescape(page.get_data(as_text=True))
    assert DISK_FULL in text
    assert "another look" not in text, "no field is to blame"
    for value in form.values():
        assert value in text
    answer = site.client.post("/datasets/images/classification.json", data=form)
    assert answer.get_json()["error"]["message"] == DISK_FULL
    for url in ("/", "/index.json", "/datasets/images/generic/new"):
        assert site.client.get(url).status_code == 200, url
    assert site.job_ids() == before
    ballast.unlink()
    site.done(site.make("datasets/images/classification", form))


def test_a_training_on_a_full_disk_waits_with_all_that_it_has_learnt(site: Site, small_disk: Path) -> None:
    job_id = site.make_model(dataset=generic(site), **LONG | {"snapshot_interval": "0"}, learning_rate="1e-9")
    site.until_event(job_id, "train")
    ballast = fill(small_disk)
    until(lambda: "Waits for room on the disk" in remark(site, job_id), 60)
    for url in ("/", f"/models/{job_id}", f"/jobs/{job_id}/events"):
        assert site.client.get(url).status_code == 200, "the server goes on, and reads"
    told = len(site.events(job_id, "train"))
    ballast.unlink()
    until(lambda: len(site.events(job_id, "train")) > told and not remark(site, job_id), 60, "it goes on")
    assert len(site.events(job_id, "started")) == 1


def test_what_becomes_of_jobs_is_known_on_a_full_disk(
    site: Site, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.scheduler.SECONDS_BETWEEN_LOOKS_AT_QUEUE", 0.5)
    dataset = generic(site)
    killed = site.make_model(dataset=dataset, **LONG, learning_rate="1e-9")
    waiting = site.make_model(dataset=dataset, train_epochs="1")
    site.until_event(killed, "snapshot")
    worker = worker_pid(site.services.scheduler, killed)
    # What it writes just now must not be room that it gives back.
    os.killpg(worker, signal.SIGSTOP)
    ballast = fill(small_disk)
    os.killpg(worker, signal.SIGKILL)

    def status(job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = site.client.get(f"/jobs/{job_id}/events").get_json()["status"]
        return found

    until(lambda: status(killed)["remark"] == "Waits for room on the disk, which is full.", 60)
    assert status(killed)["status"] == "Waiting"
    assert site.client.post(f"/jobs/{killed}/abort").status_code == 200
    assert status(killed)["status"] == "Aborted"
    assert status(waiting)["status"] == "Waiting"
    ballast.unlink()
    site.done(waiting)


def test_a_training_that_waits_for_room_can_be_stopped(site: Site, small_disk: Path) -> None:
    job_id = site.make_model(dataset=generic(site), custom_network=LARGE, learning_rate="1e-9", train_epochs="5")
    until(lambda: "Waits for room on the disk: the snapshot of epoch" in remark(site, job_id), 60)
    site.client.post(f"/jobs/{job_id}/abort")
    assert wait_for_job(site.client, job_id)["status"] == "Aborted"
    assert "is lost" in site.events(job_id, "message")[-1]["text"]
    assert site.half_files(job_id) == []
