"""A disk with a fault, which Linux makes read-only under a server and a training that are at work: a real ext4 in a file."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import until, worker_pid
from tests.web import payloads
from tests.web.conftest import Site
from tests.web.test_models import LONG
from webapp import create_app
from webapp.config import Settings
from webapp.services import Services

DISK_BYTES = 32 << 20
JSON = {"Accept": "application/json"}


class Disk:
    """A disk in a file, and the folder where it is mounted."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "disk"
        self._file = root / "disk.img"
        self.folder.mkdir()
        with self._file.open("wb") as file:
            file.truncate(DISK_BYTES)
        run("mkfs.ext4", "-q", "-F", str(self._file))

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=remount-ro", str(self._file), str(self.folder))

    def have_a_fault(self) -> None:
        device = run("findmnt", "-no", "SOURCE", str(self.folder)).strip()
        (Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error").write_text("of a test")

    def repair(self) -> None:
        """As who runs the machine does it, and the machine when it starts anew."""
        run("umount", str(self.folder))
        subprocess.run(["e2fsck", "-fy", str(self._file)], capture_output=True, check=False)
        self.mount()


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("A disk in a file takes root, and mkfs.ext4.")
    made = Disk(tmp_path)
    try:
        made.mount()
    except OSError as error:
        pytest.skip(f"No disk can be mounted here: {error}")
    yield made
    run("umount", "--lazy", str(made.folder))


Serve = Callable[[], Site]


@pytest.fixture
def serve(disk: Disk, tmp_path: Path, digit_folders: Path) -> Iterator[Serve]:
    """Serve the data directory on the disk; the former server has ended then."""
    served: list[Services] = []

    def begin() -> Site:
        app = create_app(Settings(data_dir=disk.folder / "data", data_roots=(tmp_path, digit_folders)))
        services: Services = app.extensions["layerscope"]
        services.scheduler.start()
        served.append(services)
        return Site(app.test_client(), services, digit_folders)

    yield begin
    # What the disk has forgotten of them is no matter.
    for job in served[-1].store.running():
        os.killpg(worker_pid(served[-1].scheduler, job.id), signal.SIGKILL)
    served[-1].close()


def test_a_disk_that_becomes_read_only_loses_nothing(disk: Disk, serve: Serve) -> None:
    site = serve()
    dataset = site.done(site.make_classification(site.digits))
    generic = site.done(site.make_generic(site.folder(dataset).path))
    job_id = site.make_model(dataset=generic, **LONG, learning_rate="1e-9")
    site.until_event(job_id, "snapshot")
    disk.have_a_fault()

    def status() -> dict[str, Any]:
        found: dict[str, Any] = site.client.get(f"/jobs/{job_id}/events").get_json()["status"]
        return found

    # By the server, or of the worker: who meets it first.
    told = re.compile("could not be written|cannot be written|read-only")
    until(lambda: told.search(status()["remark"] or ""), 60)
    assert status()["status"] == "Running", "it waits with all that it has learnt"
    for url in ("/", f"/models/{job_id}", "/datasets/images/classification/new"):
        assert site.client.get(url).status_code == 200, "what can be read is"
    answer = site.client.post("/datasets/images/classification.json", data=payloads.classification(site.digits))
    assert "read-only, as Linux makes one that has faults" in answer.get_json()["error"]["message"]
    answer = site.client.post(f"/jobs/{job_id}/abort", headers=JSON)
    assert "could not be written" in answer.get_json()["error"]["message"]
    worker = worker_pid(site.services.scheduler, job_id)
    site.services.close()
    os.killpg(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    disk.repair()
    site = serve()
    site.until_event(job_id, "resumed")
    assert status()["status"] == "Running"
