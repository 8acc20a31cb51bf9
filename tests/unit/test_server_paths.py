"""What of the server may be read: by the path that a form names, and again by the job, whatever it has become meanwhile."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.errors import BadDatabase, BadImage, UserError
from jobs.folder import JobFolder, paths_read_by
from jobs.specs import ServerPaths
from jobs.storage.class_folders import parse_folders
from jobs.storage.classification import create
from jobs.storage.images import read_content
from jobs.storage.prebuilt import analyse
from jobs.torch7.t7 import read_t7
from tests.conftest import until
from tests.unit.storage_jobs import (
    JOB_ID,
    classification_spec,
    generic_spec,
    make_job,
    picture,
    save_classes,
    save_picture,
    save_pictures_database,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with pictures, and beside it what nobody may read."""
    save_classes(tmp_path / "data" / "pictures", a=4, b=4)
    for outside in ("data-secret", "outside"):
        save_picture(tmp_path / outside / "secret.png", picture(99))
    return tmp_path / "data"


def test_a_file_is_read_where_it_lies_in_a_root(root: Path) -> None:
    paths = ServerPaths((root,))
    path = root / "pictures" / "a" / "000.png"
    (root / "link.png").symlink_to(path)
    for inside in (path, root / "link.png", root / "pictures" / ".." / "pictures" / "a" / "000.png"):
        with paths.open(inside) as file:
            assert file.read() == path.read_bytes()


@pytest.mark.parametrize("kind", ["link", "link to a folder", "sibling", "dots", "chain", "hard way"])
def test_a_file_that_lies_elsewhere_is_not_read(root: Path, kind: str) -> None:
    outside = root.parent / "outside"
    (root / "link").symlink_to(outside / "secret.png")
    (root / "folder").symlink_to(outside)
    (root / "sibling").symlink_to(root.parent / "data-secret" / "secret.png")
    (root / "chain").symlink_to(root / "link")
    path = {
        "link": root / "link",
        "link to a folder": root / "folder" / "secret.png",
        "sibling": root / "sibling",
        "dots": root / ".." / "outside" / "secret.png",
        "chain": root / "chain",
        "hard way": Path(f"/proc/self/root{outside}/secret.png"),
    }[kind]
    paths = ServerPaths((root,))
    assert not paths.allows(path)
    with pytest.raises(PermissionError, match="leads out"):
        paths.open(path)


def test_pipes_and_devices_are_no_files(root: Path) -> None:
    os.mkfifo(root / "pipe.png")
    for path in (root / "pipe.png", root):
        with pytest.raises(OSError, match="it is no file"):
            ServerPaths((root,)).open(path)
    with pytest.raises(OSError, match="it is no file"):
        ServerPaths((Path("/dev"),)).open("/dev/zero")


def test_a_link_that_is_swapped_while_files_are_opened_never_leads_out(root: Path) -> None:
    inside, outside = root / "pictures" / "a" / "000.png", root.parent / "outside" / "secret.png"
    link, secret = root / "link.png", outside.read_bytes()
    link.symlink_to(inside)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for target in (outside, inside):
                (root / "next").symlink_to(target)
                (root / "next").replace(link)

    thread = threading.Thread(target=swap)
    thread.start()
    opened = refused = 0

    def has_seen_both() -> bool:
        """It was opened often, and at least once while the link led out."""
        nonlocal opened, refused
        try:
            with ServerPaths((root,)).open(link) as file:
                assert file.read() != secret
        except PermissionError:
            refused += 1
        else:
            opened += 1
        return opened > 1000 and refused > 0

    try:
        until(has_seen_both, wait=lambda _: None)
    finally:
        done.set()
        thread.join()


def test_pictures_behind_links_that_lead_out_are_left_out_and_counted(root: Path) -> None:
    folder = root / "pictures"
    (folder / "a" / "secret.png").symlink_to(root.parent / "outside" / "secret.png")
    (folder / "a" / "more").symlink_to(root.parent / "outside")
    (folder / "c").symlink_to(root.parent / "outside")
    (folder / "b" / "again.png").symlink_to(folder / "a" / "000.png")
    parsed = parse_folders(classification_spec(folder, folder_pct_val=0), 1, lambda: None, ServerPaths((root,)))
    assert parsed.labels == ["a", "b"]
    assert len(parsed.splits["train"]) == 4 + 5, "the link that stays inside counts"
    assert not any("secret" in path for path, _ in parsed.splits["train"])
    (warning,) = parsed.warnings
    assert "lead out of the folders that this server may read: 3 files or folders" in warning


def test_a_picture_that_became_a_link_after_it_was_found_is_not_read(root: Path) -> None:
    victim = root / "pictures" / "a" / "000.png"
    victim.unlink()
    victim.symlink_to(root.parent / "outside" / "secret.png")
    with pytest.raises(BadImage, match="leads out"):
        read_content(ServerPaths((root,)), str(victim))


def test_a_folder_that_became_a_link_after_its_form_was_sent_is_refused(root: Path) -> None:
    (root / "later").symlink_to(root.parent)
    job = make_job(root.parent / "jobs", classification_spec(root / "later"), paths=ServerPaths((root,)))
    with pytest.raises(UserError, match="leads out"):
        create(job)


@pytest.mark.parametrize("what", ["folder", "file", "labels", "mean"])
def test_a_database_that_leads_out_is_refused(root: Path, what: str) -> None:
    outside = save_pictures_database(root.parent / "outside_db", [picture(1)])
    inside = save_pictures_database(root / "inside_db", [picture(1)])
    (root / "folder_db").symlink_to(outside)
    (root / "file_db").mkdir()
    (root / "file_db" / "data.mdb").symlink_to(outside / "data.mdb")
    (root / "mean.binaryproto").symlink_to(root.parent / "outside" / "secret.png")
    spec = {
        "folder": generic_spec(root / "folder_db"),
        "file": generic_spec(root / "file_db"),
        "labels": generic_spec(inside, prebuilt_train_labels=str(root / "folder_db")),
        "mean": generic_spec(inside, prebuilt_mean_file=str(root / "mean.binaryproto")),
    }[what]
    job = make_job(root.parent / "jobs", spec, paths=ServerPaths((root,)))
    with pytest.raises(BadDatabase, match="leads out"):
        analyse(job)


def test_weights_that_lead_out_are_refused(root: Path) -> None:
    (root / "weights.t7").symlink_to(root.parent / "outside" / "secret.png")
    with pytest.raises(UserError, match="leads out"):
        read_t7(root / "weights.t7", ServerPaths((root,)))


@pytest.fixture
def site(root: Path) -> ServerPaths:
    """As a server has them whose data root holds the folder of its jobs, two of which have pictures."""
    jobs = root / "layerscope" / "jobs"
    for job in (SHARED, PRIVATE):
        save_classes(jobs / job / "pictures", a=4, b=4)
    return ServerPaths((root, jobs), never_whole=(root / "layerscope", jobs))


SHARED, PRIVATE = "20250101-000000-0001", "20250101-000000-beef"


def test_no_link_leads_into_a_job_that_is_not_named(root: Path, site: ServerPaths) -> None:
    """Whoever may write into a data root could have other people's pictures in a dataset by it."""
    jobs, folder = root / "layerscope" / "jobs", root / "pictures"
    (folder / "a" / "private.png").symlink_to(jobs / PRIVATE / "pictures" / "a" / "000.png")
    (folder / "b" / "more").symlink_to(jobs / PRIVATE / "pictures" / "b")
    (folder / "c").symlink_to(jobs / SHARED / "pictures")
    job = make_job(jobs, classification_spec(folder, folder_pct_val=0))
    paths = paths_read_by(job.spec, job.folder, site)
    parsed = parse_folders(job.spec, 1, lambda: None, paths)
    assert {name: len(found) for name, found in parsed.splits.items()} == {"train": 8}
    assert "3 files or folders" in parsed.warnings[0]
    with pytest.raises(PermissionError, match="leads out"):
        paths.open(folder / "a" / "private.png")
    create(replace(job, paths=paths))


def test_a_job_reads_the_folder_of_another_that_its_form_names(root: Path, site: ServerPaths) -> None:
    """Where the data directory itself is reached by a link, too."""
    jobs = root / "layerscope" / "jobs"
    (root.parent / "way").symlink_to(root / "layerscope")
    by_a_link = replace(site, never_whole=(root.parent / "way", root.parent / "way" / "jobs"))
    for paths, named in ((site, jobs), (by_a_link, root.parent / "way" / "jobs")):
        spec = classification_spec(named / SHARED / "pictures")
        read = paths_read_by(spec, JobFolder(named / JOB_ID), paths)
        assert read.allows(named / SHARED / "pictures" / "a" / "000.png")
        assert not read.allows(named / PRIVATE / "pictures")


@pytest.mark.parametrize("named", ["link", "dots", "jobs"])
def test_what_a_form_names_by_a_link_opens_no_job(root: Path, site: ServerPaths, named: str) -> None:
    jobs = root / "layerscope" / "jobs"
    (root / "link").symlink_to(jobs / PRIVATE)
    (root / "deep" / "layerscope" / "jobs" / PRIVATE).mkdir(parents=True)
    (root / "deep" / "folder").mkdir()
    (root / "up").symlink_to(root / "deep" / "folder")
    path = {"link": root / "link", "dots": root / "up" / ".." / "layerscope" / "jobs" / PRIVATE, "jobs": jobs}[named]
    read = paths_read_by(classification_spec(path), JobFolder(jobs / JOB_ID), site)
    assert not read.allows(jobs / PRIVATE / "pictures" / "a" / "000.png")
