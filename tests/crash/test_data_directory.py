"""What a data directory survives: a list of jobs that is damaged or lost, another place, an older version, a loss of power."""

import hashlib
import html
import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from click.testing import CliRunner

from jobs.attributes import Attributes, keep_attributes, read_attributes
from jobs.database import MARK
from jobs.errors import EnvironmentFault, UserError
from jobs.events import all_events
from jobs.folder import JobFolder
from jobs.listing import SORTS, TABLES, Listing
from jobs.pins import read_pin
from jobs.rebuilding import open_store
from jobs.reconciling import catch_up
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.scheduling.hearing import Hearing
from jobs.statuses import Status
from jobs.store import MIGRATIONS, SCHEMA, Store
from jobs.training.plan import read_extensions
from jobs.training.snapshot_files import of_epoch
from tests.conftest import until, wait_for_job
from tests.crash.conftest import (
    copy_of,
    long_job,
    polled_until,
    put_back,
    seconds_at_work,
    short_job,
    start_long_job,
    wait_for,
)
from tests.web.conftest import Site
from tests.web.people import PASSWORD
from webapp import create_app
from webapp.accounts import Accounts, CredentialKind, Role
from webapp.cli import main
from webapp.config import Settings
from webapp.services import Services

Serve = Callable[[Path], Site]


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory, digit_folders: Path) -> Iterator[Serve]:
    """Serve a data directory; the former one is not served any more."""
    served: list[Services] = []

    def begin(data_dir: Path) -> Site:
        while served:
            served.pop().close()
        site = serve_once(data_dir, tmp_path_factory.getbasetemp(), digit_folders)
        served.append(site.services)
        return site

    yield begin
    for services in served:
        services.close()


def serve_once(data_dir: Path, root: Path, digits: Path) -> Site:
    app = create_app(Settings(data_dir=data_dir, data_roots=(root,)))
    services: Services = app.extensions["layerscope"]
    services.scheduler.start()
    return Site(app.test_client(), services, digits)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, digit_folders: Path) -> Path:
    """A data directory with jobs of every end, some of them renamed and with notes; nobody serves it."""
    data_dir = tmp_path_factory.mktemp("kept") / "data"
    site = serve_once(data_dir, tmp_path_factory.getbasetemp(), digit_folders)
    classification = site.done(
        site.make_classification(digit_folders, dataset_name="As in its form", group_name="sweep")
    )
    generic = site.done(site.make_generic(site.folder(classification).path))
    model = site.done(site.make_model(dataset=generic, train_epochs="2"))
    site.client.put(f"/jobs/{model}", data={"job_name": "Ünder another name"})
    site.client.put(f"/jobs/{model}", data={"job_notes": "two\nlines"})
    broken = site.make_model(dataset=generic, custom_network="def network(params):\n    return 1 / 0\n")
    assert wait_for_job(site.client, broken)["status"] == "Error"
    site.services.close()
    return data_dir


@pytest.fixture
def data_dir(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "data")
    return tmp_path / "data"


def listed(site: Site) -> list[dict[str, Any]]:
    """All that the home page says of all jobs, but for fractions of a second."""
    tables = site.client.get("/completed_jobs.json").get_json()
    rows = [row for table in ("running", "models", "datasets") for row in tables[table]]
    return sorted(
        (row | {"submitted": int(row["submitted"]), "elapsed": None} for row in rows), key=lambda row: row["id"]
    )


def text_of(site: Site, url: str = "/") -> str:
    return html.unescape(site.client.get(url).get_data(as_text=True))


def write_text(database: Path) -> None:
    database.write_text("This is a text, and longer than the header of a database. " * 100)


def cut(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def flip_bits(database: Path) -> None:
    content = bytearray(database.read_bytes())
    chance = random.Random(7)
    for _ in range(400):
        content[chance.randrange(100, 60_000)] ^= 1 << chance.randrange(8)
    database.write_bytes(content)


def misspell(database: Path) -> None:
    """Good for SQLite, and not for us."""
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE jobs SET status = 'Dome', summary = '{' WHERE id = (SELECT max(id) FROM jobs)")
    connection.close()


@pytest.mark.parametrize("damage", [write_text, cut, flip_bits, misspell])
def test_a_damaged_list_of_jobs_is_made_anew_from_their_folders(
    data_dir: Path, serve: Serve, damage: Callable[[Path], None]
) -> None:
    before = listed(serve(data_dir))
    assert {row["status"] for row in before} == {"Done", "Error"}
    assert "The list of jobs was damaged" not in text_of(serve(data_dir))
    serve(data_dir).services.close()
    damage(data_dir / "layerscope.sqlite")
    site = serve(data_dir)
    assert listed(site) == before
    (aside,) = data_dir.glob("layerscope.sqlite.damaged-*")
    assert str(aside) in text_of(site)
    for row in before:
        assert text_of(site, row["url"]).count(row["name"]) > 0
        assert row["notes"] in text_of(site, row["url"])
    aside.unlink()
    assert "The list of jobs was damaged" not in text_of(site)


def flipped(content: bytes, place: int, chance: random.Random) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def in_lists(store: Store) -> dict[str, str]:
    """Every job that the home page has in one of its tables, whatever they are sorted by, with its status."""
    listings = [Listing(table, sort=sort, reader=None) for table in TABLES for sort in SORTS]
    names = {name for listing in listings for name in store.listed_names(listing)}
    found = store.listed([job_id for job_id, _ in names], None)
    assert all(store.status_changes(job.record.id)[-1].status is job.record.status for job in found)
    return {job.record.id: job.record.status for job in found}


def test_one_flipped_bit_of_the_list_of_jobs_loses_none_of_them(kept: Path, tmp_path: Path) -> None:
    database, jobs_dir = tmp_path / "list.sqlite", kept / "jobs"
    good = (kept / "layerscope.sqlite").read_bytes()
    with closing(Store(shutil.copyfile(kept / "layerscope.sqlite", database))) as store:
        before = in_lists(store)
    assert sorted(before.values()) == ["Done", "Done", "Done", "Error"]
    chance = random.Random(11)
    used = [place for place, byte in enumerate(good) if byte]
    versions = (*range(18, 20), *range(44, 48), *range(60, 64))
    places = [*versions, *(chance.randrange(100) for _ in range(20)), *chance.sample(used, 60)]
    for place in places:
        database.write_bytes(flipped(good, place, chance))
        with closing(open_store(database, jobs_dir)) as store:
            assert in_lists(store) == before, f"byte {place}"
    assert len(list(tmp_path.glob("list.sqlite.damaged-*"))) > len(places) / 2


def test_a_name_that_is_no_text_any_more_is_damage(kept: Path, tmp_path: Path) -> None:
    """As the lowest bit of its length in the row makes it: SQLite finds nothing wrong with that."""
    database = shutil.copyfile(kept / "layerscope.sqlite", tmp_path / "list.sqlite")
    with closing(Store(database)) as store:
        before = in_lists(store)
    for table, column in (("jobs", "name"), ("jobs", "notes"), ("status_changes", "status")):
        shutil.copyfile(kept / "layerscope.sqlite", database)
        with closing(sqlite3.connect(database)) as damaging:
            damaging.execute(f"UPDATE {table} SET {column} = CAST({column} AS BLOB)")
            damaging.commit()
        with closing(open_store(database, kept / "jobs")) as store:
            assert in_lists(store) == before, column


def test_a_list_of_jobs_of_a_newer_version_is_refused_and_left_where_it_is(kept: Path, tmp_path: Path) -> None:
    database = shutil.copyfile(kept / "layerscope.sqlite", tmp_path / "list.sqlite")
    with closing(sqlite3.connect(database)) as newer:
        newer.executescript(
            "ALTER TABLE jobs ADD COLUMN of_tomorrow TEXT; "
            f"PRAGMA user_version={len(MIGRATIONS) + 2}; PRAGMA application_id={MARK + len(MIGRATIONS) + 2}"
        )
    content = database.read_bytes()
    with pytest.raises(EnvironmentFault, match="written by a newer Layerscope"):
        open_store(database, kept / "jobs")
    assert database.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["list.sqlite"]


def test_jobs_that_had_not_ended_are_queued_again_when_the_list_is_lost(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path
) -> None:
    running, pid = start_long_job(scheduler, store, many_pictures)
    waiting = scheduler.submit(long_job(many_pictures))
    other = open_store(jobs_dir.parent / "made anew.sqlite", jobs_dir)
    assert (other.get(running).status, other.get(waiting).status) == (Status.RUNNING, Status.WAITING)
    successor = Scheduler(jobs_dir, other, Resources())
    successor.poll()
    assert successor.workers.known[running].identity == scheduler.workers.known[running].identity, (
        "no second worker joins it"
    )
    os.killpg(pid, signal.SIGKILL)
    scheduler.workers.known[running].process.wait()  # type: ignore[union-attr]
    until(lambda: successor.poll() or len(other.status_changes(running)) >= 4, 20)
    for job_id in (running, waiting):
        successor.abort(job_id)
        wait_for(successor, other, job_id, Status.ABORTED)


@pytest.mark.parametrize("had_begun", [False, True])
def test_a_dataset_that_is_done_is_not_made_again_when_an_older_list_is_put_back(
    scheduler: Scheduler, store: Store, jobs_dir: Path, tmp_path: Path, digit_folders: Path, had_begun: bool
) -> None:
    pictures = shutil.copytree(digit_folders, tmp_path / "pictures")
    job_id = scheduler.submit(short_job(pictures), owner="ada", private=True)
    if had_begun:
        scheduler.poll()
        assert store.get(job_id).status is Status.RUNNING
    copy = copy_of(tmp_path / "store.sqlite")
    before = wait_for(scheduler, store, job_id, Status.DONE)
    keep_attributes(scheduler.folder(job_id), Attributes(name="Renamed", notes="since", owner="ada", private=True))
    made = scheduler.folder(job_id).dataset.stat()
    shutil.rmtree(pictures)
    again = put_back(copy, jobs_dir)
    successor = Scheduler(jobs_dir, again, Resources())
    for _ in range(3):
        successor.poll()
    job = again.get(job_id)
    assert (job.status, job.cause, job.summary) == (Status.DONE, None, before.summary)
    assert (job.owner, job.private, job.spec_sha256) == ("ada", True, before.spec_sha256)
    assert (job.name, job.notes) == ("Renamed", "since")
    shortest, longest = seconds_at_work(scheduler.folder(job_id)), store.elapsed(job_id) or 0
    assert shortest - 0.01 <= (again.elapsed(job_id) or 0) <= longest + 0.01
    assert scheduler.folder(job_id).dataset.stat() == made
    assert catch_up(again, jobs_dir) == 0, "it is read once"


def test_states_that_were_lost_with_the_log_of_the_list_are_found_in_the_folders(
    scheduler: Scheduler, store: Store, jobs_dir: Path, tmp_path: Path, digit_folders: Path
) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    store._connection.execute("PRAGMA wal_checkpoint")
    wait_for(scheduler, store, job_id, Status.DONE)
    with closing(sqlite3.connect(shutil.copyfile(tmp_path / "store.sqlite", tmp_path / "looked at.sqlite"))) as older:
        assert older.execute("SELECT status FROM jobs").fetchall() == [(Status.INITIALIZED,)]
    alone = shutil.copyfile(tmp_path / "store.sqlite", tmp_path / "without its log.sqlite")
    with closing(open_store(alone, jobs_dir)) as again:
        assert again.get(job_id).status is Status.DONE


def test_a_worker_clears_no_folder_of_a_dataset_that_is_done_whatever_the_list_says(
    scheduler: Scheduler, store: Store, jobs_dir: Path, tmp_path: Path, digit_folders: Path
) -> None:
    pictures = shutil.copytree(digit_folders, tmp_path / "pictures")
    job_id = scheduler.submit(short_job(pictures))
    wait_for(scheduler, store, job_id, Status.DONE)
    made = scheduler.folder(job_id).dataset.stat()
    shutil.rmtree(pictures)
    store._connection.execute("UPDATE jobs SET status = 'Waiting'")
    successor = Scheduler(jobs_dir, store, Resources())
    wait_for(successor, store, job_id, Status.RUNNING)
    wait_for(successor, store, job_id, Status.DONE)
    assert scheduler.folder(job_id).dataset.stat() == made


def test_a_list_that_agrees_with_the_folders_is_left_as_it_is(
    scheduler: Scheduler, store: Store, jobs_dir: Path, tmp_path: Path, digit_folders: Path, many_pictures: Path
) -> None:
    torn, done = (scheduler.submit(short_job(digit_folders)) for _ in range(2))
    for job_id in (torn, done):
        wait_for(scheduler, store, job_id, Status.DONE)
    # As a loss of power, or a network that floods its events until it is ended, leaves them.
    for job_id, rest in ((torn, '{"type":"prog'), (done, '{"type":"progress","fraction":0.5}\n')):
        with scheduler.folder(job_id).events.open("a") as file:
            file.write(rest)
    running, _ = start_long_job(scheduler, store, many_pictures)
    heard = store.get(running).event_offset
    events = scheduler.folder(running).events
    until(lambda: events.stat().st_size > heard, 60, "its worker goes on while nobody hears it")
    before = store.all()
    with closing(open_store(tmp_path / "store.sqlite", jobs_dir)) as again:
        assert again.all() == before
        assert [len(again.status_changes(job.id)) for job in before] == [4, 4, 3]


def test_a_folder_that_is_no_job_is_left_alone(data_dir: Path, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    before = listed(serve(data_dir))
    strange = {"20200101-000000-0000": "{", "20200101-000000-0001": "{}", "20209999-000000-0002": '{"kind": "unknown"}'}
    for name, spec in strange.items():
        (data_dir / "jobs" / name).mkdir()
        (data_dir / "jobs" / name / "spec.json").write_text(spec)
    (data_dir / "jobs" / "20200101-000000-0003").mkdir()
    (data_dir / "jobs" / "notes.txt").write_text("mine")
    assert listed(serve(data_dir)) == before
    assert caplog.text.count("is no job that can be entered") == 4


def test_a_job_whose_server_died_before_it_was_in_the_list_is_not_lost(
    scheduler: Scheduler, store: Store, jobs_dir: Path, tmp_path: Path, digit_folders: Path
) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    assert store._connection.execute("DELETE FROM jobs").rowcount == 1
    again = open_store(tmp_path / "store.sqlite", jobs_dir)
    assert again.get(job_id).status is Status.WAITING
    assert again.get(job_id).spec_sha256 == scheduler.folder(job_id).spec_sha256(), "who changes it now is found out"
    assert wait_for(Scheduler(jobs_dir, again, Resources()), again, job_id, Status.DONE).name == "short"


def test_a_job_whose_server_died_while_it_was_deleted_does_not_come_back(
    scheduler: Scheduler, store: Store, jobs_dir: Path, tmp_path: Path, digit_folders: Path
) -> None:
    job_id = scheduler.submit(short_job(digit_folders))
    scheduler.abort(job_id)
    # The first step of a deletion.
    (jobs_dir / job_id).rename(jobs_dir / f".{job_id}.deleted")
    again = open_store(tmp_path / "store.sqlite", jobs_dir)
    successor = Scheduler(jobs_dir, again, Resources())
    successor.start()
    successor.close()
    assert again.names(None) == []
    assert list(jobs_dir.iterdir()) == []


def test_events_that_a_loss_of_power_has_cut_are_read_again(
    scheduler: Scheduler, store: Store, jobs_dir: Path, many_pictures: Path
) -> None:
    job_id, pid = start_long_job(scheduler, store, many_pictures)
    os.killpg(pid, signal.SIGKILL)
    scheduler.workers.known[job_id].process.wait()  # type: ignore[union-attr]
    events = scheduler.folder(job_id).events
    # Of the last line only a part was on the disk.
    os.truncate(events, store.get(job_id).event_offset // 2)
    successor = Scheduler(jobs_dir, store, Resources())
    job = store.get(job_id)
    Hearing(store, successor.listeners).hear(job, successor.folder(job_id))
    again = store.get(job_id)
    assert (again.event_offset, again.summary) == (0, {}), "what it has said may never have been: all is heard again"
    wait_for(successor, store, job_id, Status.RUNNING)
    polled_until(successor, lambda: "begun_anew" in {event["type"] for event in all_events(events)})
    successor.abort(job_id)
    wait_for(successor, store, job_id, Status.ABORTED)


def test_a_page_is_told_when_there_are_fewer_events_than_it_has_heard(data_dir: Path, serve: Serve) -> None:
    site = serve(data_dir)
    (job_id, *_) = [row["id"] for row in listed(site) if row["type"] == "dataset"]
    size = site.folder(job_id).events.stat().st_size
    answer = site.client.get(f"/jobs/{job_id}/events?since={size + 1}").get_json()
    assert (answer["events"], answer["next"]) == ([], size)
    assert site.client.get(f"/jobs/{job_id}/events?since={size}").get_json()["next"] == size


def model_of(site: Site) -> str:
    (job_id,) = [row["id"] for row in listed(site) if row["type"] == "model" and row["status"] == "Done"]
    return str(job_id)


def picture_of(site: Site, job_id: str) -> dict[str, Any]:
    form = {"job_id": job_id, "image_path": str(min(site.digits.rglob("*.png")))}
    answer = site.client.post("/models/images/generic/infer_one.json", data=form)
    assert answer.status_code == 200, answer.get_json()
    body: dict[str, Any] = answer.get_json()
    return body


@pytest.fixture
def moved(kept: Path, tmp_path: Path) -> Iterator[Path]:
    """Where it was before there is nothing any more."""
    place = tmp_path / "another" / "place"
    place.parent.mkdir()
    kept.rename(place)
    yield place
    place.rename(kept)


def test_a_data_directory_works_in_another_place(moved: Path, serve: Serve) -> None:
    site = serve(moved)
    for row in listed(site):
        assert site.client.get(row["url"]).status_code == 200
    generic = site.client.get("/index.json").get_json()["models"][0]["dataset_id"]
    explored = site.client.get(f"/datasets/generic/explore?job_id={generic}&db=train")
    assert explored.status_code == 200
    picture_of(site, model_of(site))


def test_a_data_directory_of_the_first_version_opens(data_dir: Path, serve: Serve) -> None:
    site = serve(data_dir)
    model, before = model_of(site), listed(site)
    folder = site.folder(model)
    site.services.close()
    first_version(data_dir / "layerscope.sqlite", model)
    for epoch in folder.snapshot_epochs():
        content = torch.load(folder.snapshot(epoch), weights_only=True)
        old = {
            "format": 1,
            **{key: content[key] for key in ("epoch", "position", "model", "optimizer", "schedule", "seed")},
        }
        torch.save(old | {"random_state": {"cpu": content["random_state"]["cpu"], "gpus": []}}, folder.snapshot(epoch))
        of_epoch(folder, epoch).manifest_path.unlink()
    site = serve(data_dir)
    after = {row["id"]: row for row in listed(site)}
    assert [after[row["id"]]["name"] for row in before] == [row["name"] for row in before]
    assert after[model]["status"] == "Aborted"
    picture_of(site, model)
    answer = site.client.post(f"/jobs/{model}/resume", headers={"Accept": "application/json"})
    assert answer.status_code == 403
    assert "its manifest is missing" in answer.get_json()["error"]["message"]


def first_version(database: Path, aborted: str) -> None:
    """Write the list of jobs as the first version of its schema, with one job that was aborted."""
    columns = ("id, kind, family, name, group_name, notes, status, cause, cause_line, created, parent_id, device, "
               "event_offset, summary")  # fmt: skip
    with sqlite3.connect(database) as now:
        jobs = now.execute(f"SELECT {columns} FROM jobs").fetchall()
        changes = now.execute("SELECT job_id, status, time FROM status_changes").fetchall()
    now.close()
    database.unlink()
    with sqlite3.connect(database) as old:
        old.executescript(f"{SCHEMA} PRAGMA user_version=1;")
        old.executemany(f"INSERT INTO jobs ({columns}) VALUES ({', '.join('?' * 14)})", jobs)
        old.executemany("INSERT INTO status_changes VALUES (?, ?, ?)", changes)
        old.execute("UPDATE jobs SET status = 'Aborted' WHERE id = ?", (aborted,))
    old.close()


def test_the_list_is_copied_beside_a_server_and_put_back(data_dir: Path, tmp_path: Path, serve: Serve) -> None:
    site = serve(data_dir)
    before = listed(site)
    copy = tmp_path / "copies" / "copy"
    copy.parent.mkdir()
    made = run("backup", str(copy), data_dir)
    assert made.startswith(f"Jobs: {len(before)}, accounts: 0, in {copy}.")
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
    site.client.put(f"/jobs/{before[0]['id']}", data={"job_name": "renamed after the copy"})
    site.services.close()
    told = run("restore", str(copy), data_dir)
    assert "is kept as" in told
    assert "no accounts in the copy" in told
    assert listed(serve(data_dir)) == before
    whole = copy.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[: len(whole) // 2], flipped):
        copy.write_bytes(damaged)
        assert "is damaged" in run("restore", str(copy), data_dir, status=1)
    assert listed(serve(data_dir)) == before


def test_a_copy_of_the_time_before_accounts_is_put_back(data_dir: Path, tmp_path: Path, serve: Serve) -> None:
    site = serve(data_dir)
    before = listed(site)
    site.services.close()
    copy = shutil.copyfile(data_dir / "layerscope.sqlite", tmp_path / "copy.sqlite")
    run("restore", str(copy), data_dir)
    assert listed(serve(data_dir)) == before


def test_accounts_come_back_with_the_copy_and_sessions_do_not(tmp_path: Path) -> None:
    settings, copy = Settings(tmp_path / "data"), tmp_path / "copy"
    settings.make_folders()
    open_store(settings.database, settings.jobs_dir).close()
    with closing(Accounts(settings.accounts_database)) as accounts:
        accounts.add("ada", PASSWORD, Role.ADMIN)
        session, token = accounts.log_in("ada", PASSWORD, "a browser", "") or "", accounts.add_token("ada", "nightly")
        assert "accounts: 1" in run("backup", str(copy), settings.data_dir)
        accounts.set_password("ada", "another long password")
        accounts.add("bob", PASSWORD, Role.MEMBER)
    assert copy.stat().st_mode & 0o077 == 0
    with ZipFile(copy) as zipped:
        kept = zipped.read("accounts.sqlite")
    assert hashlib.sha256(session.encode()).hexdigest().encode() not in kept, "not even in what SQLite left unused"
    assert hashlib.sha256(token.encode()).hexdigest().encode() in kept
    assert "tokens are those of the copy" in run("restore", str(copy), settings.data_dir)
    assert settings.accounts_database.stat().st_mode & 0o077 == 0
    with closing(Accounts(settings.accounts_database)) as accounts:
        assert [user.name for user in accounts.users()] == ["ada"]
        assert accounts.is_password("ada", PASSWORD)
        assert accounts.credential(CredentialKind.SESSION, session) is None
        assert accounts.credential(CredentialKind.TOKEN, token) is not None
        assert accounts.log_in("ada", PASSWORD, "", ""), "and the list can be written"


def run(command: str, file: str, data_dir: Path, status: int = 0) -> str:
    result = CliRunner().invoke(main, [command, file, "--data-dir", str(data_dir)])
    assert result.exit_code == status, result.output
    return result.output


def test_a_new_data_directory_is_no_business_of_other_users(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "data")
    settings.make_folders()
    assert settings.data_dir.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("read", [JobFolder.read_spec, read_extensions, read_pin, read_attributes])
def test_a_file_that_pasted_code_made_huge_fills_no_memory(tmp_path: Path, read: Callable[[JobFolder], object]) -> None:
    folder = JobFolder(tmp_path)
    for path in (folder.spec, folder.extensions, folder.pin, folder.attributes):
        path.touch()
        os.truncate(path, 2**40)
    try:
        kept = read(folder)
    except (ValueError, UserError):
        return
    assert kept == Attributes(private=True)
