"""What a network's code may have left in its job's folder where nothing contained it: it leads nowhere, and stops nobody."""

import fcntl
import gzip
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobs.folder import JobFolder, lock_is_held
from jobs.pins import pin_image
from jobs.rebuilding import open_store
from jobs.worker_identity import lock_holders
from tests.web.conftest import Site

SECRET = "what nobody may read"
FILES: dict[str, bytes] = {
    "spec.json": json.dumps({"kind": "generic-image-model", "custom_network": SECRET}).encode(),
    "attributes.json": json.dumps({"name": SECRET, "notes": SECRET, "owner": SECRET}).encode(),
    "pin.json": json.dumps({"file": f"pinned_{'0' * 16}", "name": SECRET}).encode(),
    "extensions.json": json.dumps([{"epochs": SECRET}]).encode(),
    "wish.json": json.dumps(SECRET).encode(),
    "dataset.json": json.dumps({"labels": [SECRET], "splits": {"train": {"db": SECRET}}}).encode(),
    "events.jsonl": json.dumps({"type": "message", "time": 1.0, "level": "info", "text": SECRET}).encode() + b"\n",
    "worker.log": SECRET.encode(),
    "snapshots/snapshot_2.json": json.dumps({"epoch": 2, "step": 2, "size": 1, "sha256": SECRET}).encode(),
    "frames/frame_1.json.gz": gzip.compress(json.dumps({"layers": [SECRET]}).encode()),
    "lock": SECRET.encode(),
}
VALID = {"number": "1", "name": "mean.jpg", "table": "models", "url": "images/generic", "split": "train", "index": "0",
         "filename": "dist/main.js"}  # fmt: skip


@pytest.fixture(scope="module")
def model(whole_site: Site) -> str:
    return whole_site.done(whole_site.make_model(model_name="forged"))


@pytest.fixture
def folder(site: Site, model: str, tmp_path: Path) -> Iterator[JobFolder]:
    """The folder of a model that is done; a test may leave there what it likes."""
    folder = site.folder(model)
    kept = shutil.copytree(folder.path, tmp_path / "kept")
    yield folder
    shutil.rmtree(folder.path)
    kept.rename(folder.path)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """Files that are none of the job's business, and that stay as they are."""
    outside = tmp_path / "outside"
    for name, content in FILES.items():
        path = outside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    yield outside
    assert {name: (outside / name).read_bytes() for name in FILES} == FILES
    assert sum(path.is_file() for path in outside.rglob("*")) == len(FILES), "nothing was made there"


def answers(site: Site, model: str) -> Iterator[tuple[str, int, str]]:
    """What everybody can ask about the job, and about all jobs."""
    asked = [
        re.sub(r"<([^>]+)>", lambda found: VALID.get(found[1].rsplit(":", 1)[-1], model), rule.rule)
        for rule in site.client.application.url_map.iter_rules()
        if "GET" in (rule.methods or ())
    ]
    asked += [f"/datasets/images/generic/new?from={model}", f"/models/images/generic/new?clone={model}",
              f"/models/images/generic/new?dataset={model}", f"/jobs/{model}/log?download=1"]  # fmt: skip
    for address in asked:
        for kind in ("application/json", "text/html"):
            answer = site.client.get(address, headers={"Accept": kind})
            content = answer.get_data()
            if content.startswith(b"\x1f\x8b"):
                content = gzip.decompress(content)
            yield f"{address} as {kind}", answer.status_code, content.decode(errors="replace")
    for action in ("resume", "train-longer", "abort", "pause"):
        answer = site.client.post(f"/jobs/{model}/{action}", headers={"Accept": "application/json"})
        yield action, answer.status_code, answer.get_data(as_text=True)
    fields = {"dataset": model, "framework": "pytorch", "custom_network": ""}
    for address in ("/models/starter-network", "/models/visualize-network"):
        answer = site.client.post(address, data=fields, headers={"Accept": "application/json"})
        yield address, answer.status_code, answer.get_data(as_text=True)


def put_in_place(path: Path) -> Path:
    """Make room for something else."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


@pytest.mark.parametrize("name", [*(name for name in FILES if name != "lock"), "snapshots", "frames"])
def test_a_link_shows_nothing_of_what_it_leads_to(
    site: Site, model: str, folder: JobFolder, outside: Path, name: str
) -> None:
    put_in_place(folder.path / name).symlink_to(outside / name)
    for asked, status, text in answers(site, model):
        assert SECRET not in text, asked
        assert status < 500, asked


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", [name for name in FILES if name != "lock"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, make_device])
def test_what_is_no_file_keeps_nobody_waiting(
    site: Site, model: str, folder: JobFolder, name: str, make: Callable[[Path], None]
) -> None:
    make(put_in_place(folder.path / name))
    for asked, status, _ in answers(site, model):
        assert status < 500, asked


FORGED: tuple[Any, ...] = (
    None, [], {}, "text", 1e308, [None], {"labels": None}, [[[]]], {"epoch": 2, "step": "1e999"}, [{"epochs": 10**30}],
    {"labels": ["a"], "splits": {"train": {"db": "../../../etc"}, "val": {"db": "/etc"}}, "image_shape": "../x"},
    {"splits": {"train": {"images_db": "/etc", "labels_db": "/etc/passwd"}}, "mean_file": "/etc/passwd", "labels": []},
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".json", ".jsonl"))])
def test_forged_files_make_no_fault(site: Site, model: str, folder: JobFolder, name: str) -> None:
    for content in (*(json.dumps(forged).encode() for forged in FORGED), b"", b"\xff\xfe", b"[" * 100_000, b"{" * 1000):
        (folder.path / name).write_bytes(content + b"\n")
        for asked, status, text in answers(site, model):
            assert status < 500, (asked, content[:100])
            assert "root:" not in text, asked


@pytest.mark.parametrize("file", ["..", "../precious", ".", "", "spec.json", "snapshots", "/etc/passwd", "precious\0"])
def test_to_pin_another_image_removes_nothing_but_the_former(tmp_path: Path, file: str) -> None:
    folder = JobFolder(tmp_path / "20200101-000000-0000")
    folder.snapshots.mkdir(parents=True)
    for path in (tmp_path / "precious", folder.spec):
        path.write_text("years")
    folder.pin.write_text(json.dumps({"file": file, "name": "a picture"}))
    assert pin_image(folder, "train", 3).index == 3
    assert (tmp_path / "precious").read_text() == folder.spec.read_text() == "years"


def test_what_the_server_writes_there_goes_nowhere_else(tmp_path: Path, outside: Path) -> None:
    """It writes beside the file first, by a name that can be guessed."""
    folder = JobFolder(tmp_path / "20200101-000000-0000")
    folder.path.mkdir()
    folder.pin.symlink_to(outside / "pin.json")
    (folder.path / f".pin.json.{os.getpid()}.tmp").symlink_to(outside / "spec.json")
    with pytest.raises(OSError, match="it is no file"):
        pin_image(folder, "train", 3)
    pin_image(folder, "train", 3)
    assert not folder.pin.is_symlink()


def test_what_child_processes_say_goes_nowhere_else(site: Site, model: str, folder: JobFolder, outside: Path) -> None:
    (folder.path / "predictor.log").unlink(missing_ok=True)
    (folder.path / "predictor.log").symlink_to(outside / "worker.log")
    form = {"job_id": model, "image_path": str(min(site.digits.rglob("*.png")))}
    answer = site.client.post("/models/images/generic/infer_one.json", data=form)
    assert answer.status_code == 400
    assert "predictor.log in the folder of the job is no file" in answer.get_json()["error"]["message"]


def test_a_lock_that_leads_elsewhere_is_held_by_nobody(site: Site, folder: JobFolder, outside: Path) -> None:
    """Else whoever holds what it leads to, such as the server itself, would be taken for the worker and ended."""
    with (outside / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        put_in_place(folder.lock).symlink_to(outside / "lock")
        assert not lock_is_held(folder.lock)
        assert lock_holders(folder.lock) == []


def test_a_list_that_is_made_anew_takes_nothing_from_elsewhere(
    site: Site, model: str, folder: JobFolder, outside: Path, tmp_path: Path
) -> None:
    for name in ("attributes.json", "wish.json", "events.jsonl"):
        put_in_place(folder.path / name).symlink_to(outside / name)
    with closing(open_store(tmp_path / "anew.sqlite", site.services.settings.jobs_dir)) as store:
        job = store.get(model)
    assert (job.name, job.notes, job.owner, job.private) == ("forged", "", None, True)
