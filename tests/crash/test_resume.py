"""Trainings whose workers are really killed, and what becomes of them: the same weights and losses as without a crash."""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.children import Launcher
from jobs.errors import Refused
from jobs.events import EventWriter, all_events
from jobs.kept_wishes import keep_wish
from jobs.models.generic_image import GenericImageModelSpec
from jobs.reconciling import enter_missing
from jobs.registry import parse_spec
from jobs.resources import Resources
from jobs.scheduler import Scheduler
from jobs.scheduling.endings import ENDED_BY_FORCE, MOST_CRASHES_AT_ONE_PLACE
from jobs.statuses import Status, Wish
from jobs.store import JobRecord, Store
from jobs.training.plan import Extension, extend
from jobs.worker import WorkerJob
from tests.conftest import until, worker_pid
from tests.crash.conftest import copy_of, put_back, seconds_at_work, store_with_dataset
from tests.crash.forked_workers import ForkedWorker, ForkingLauncher, forking_launcher
from tests.unit.digits_jobs import DATASET, events_of, make_dataset, model_job
from tests.unit.test_resuming import NETWORK, told, weights
from tests.unit.torch7.test_kept import OPTIONS as KEEPING_IN_LUA

KILLS = 20
# Of a training that is stopped once or twice.
EPOCHS = 30
# While this is in the job's folder, a run is quick for so many steps only: it is not done before the test has acted.
SLOWLY = "slowly"
QUICK_STEPS = 60
SLOW_NETWORK = NETWORK.replace(
    "def noisy(input, label):",
    f"""import pathlib
import time

steps = [0]

def noisy(input, label):
    steps[0] += 1
    if steps[0] > {QUICK_STEPS} and pathlib.Path("{SLOWLY}").exists():
        time.sleep(0.1)""",
)
# A second or two of steps, with a snapshot and a validation every few of them.
OPTIONS = {"custom_network": SLOW_NETWORK, "crop_size": 20, "use_mean": "pixel", "train_epochs": 60, "batch_size": 4}
# Snapshots in the middle of epochs, and only the last ones stay.
MANY_SNAPSHOTS = {"snapshot_interval": 2, "snapshot_minutes": 0.0005, "keep_snapshots": "last"}


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with forking_launcher() as launcher:
        yield launcher


def start(launcher: Launcher, job: WorkerJob) -> ForkedWorker:
    assert isinstance(launcher, ForkingLauncher)
    return launcher.worker(job.folder)


def kill_after(job: WorkerJob, worker: ForkedWorker, count: int, seconds: float, type: str = "train") -> bool:
    """SIGKILL once the worker has told so many events of its own, and some milliseconds more; whether it was alive."""
    size = job.folder.events.stat().st_size if job.folder.events.exists() else 0

    def own_events() -> int:
        if not job.folder.events.exists():
            return 0
        with job.folder.events.open("rb") as file:
            file.seek(size)
            return file.read().count(f'{{"type":"{type}"'.encode())

    until(lambda: worker.poll() is not None or own_events() >= count, 60, "the worker is at work")
    # Where in a step, a snapshot or a validation it dies is left to chance.
    moment = time.monotonic() + seconds
    until(lambda: worker.poll() is not None or time.monotonic() > moment, 60, "the moment has come")
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
    return worker.wait() == -signal.SIGKILL


def test_killed_at_random_points_a_training_ends_bit_for_bit_as_without(tmp_path: Path, launcher: Launcher) -> None:
    for name in ("whole", "killed"):
        make_dataset(tmp_path / name)
    whole, killed = (model_job(tmp_path / name, **OPTIONS, **MANY_SNAPSHOTS) for name in ("whole", "killed"))
    assert start(launcher, whole).wait() == 0
    (killed.folder.path / SLOWLY).touch()
    chance = random.Random(5)
    kills = sum(
        kill_after(killed, start(launcher, killed), chance.randrange(2), chance.uniform(0, 0.2)) for _ in range(KILLS)
    )
    assert kills == KILLS, "the training is long enough to be killed so often"
    (killed.folder.path / SLOWLY).unlink()
    assert start(launcher, killed).wait() == 0
    assert events_of(killed, "finished")
    resumed = [event["step"] for event in events_of(killed, "resumed")]
    assert resumed == sorted(resumed)
    assert resumed[-1] > 0
    assert any(step % 24 for step in resumed), "it went on in the middle of an epoch, too"
    assert weights(killed, 60) == weights(whole, 60)
    assert told(killed) == told(whole)
    frames = [event["frame"] for event in events_of(killed, "frame")]
    assert len(frames) == len(set(frames))
    assert not list(killed.folder.path.rglob("*.tmp"))


def test_killed_at_random_points_a_training_in_lua_goes_on_with_what_it_counts(
    tmp_path: Path, launcher: Launcher
) -> None:
    options = KEEPING_IN_LUA | {"train_epochs": 40, "batch_size": 4} | MANY_SNAPSHOTS
    for name in ("whole", "killed"):
        make_dataset(tmp_path / name)
    whole, killed = (model_job(tmp_path / name, **options) for name in ("whole", "killed"))
    assert start(launcher, whole).wait() == 0
    chance = random.Random(5)
    kills = [kill_after(killed, start(launcher, killed), 1, chance.uniform(0, 0.1), "snapshot") for _ in range(2)]
    assert all(kills), "the training is long enough to be killed so often"
    assert start(launcher, killed).wait() == 0
    assert any(event["step"] for event in events_of(killed, "resumed"))
    assert weights(killed, 40) == weights(whole, 40)
    assert told(killed) == told(whole)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_dataset(tmp_path)


@pytest.fixture
def scheduler(tmp_path: Path, store: Store, launcher: Launcher) -> Iterator[Scheduler]:
    """A scheduler whose rounds the test does itself."""
    scheduler = Scheduler(tmp_path, store, Resources(), launcher)
    yield scheduler
    for job in store.active():
        scheduler.abort(job.id)

    def ended() -> bool:
        scheduler.poll()
        return not store.active()

    until(ended, 40, "no job runs any more")


def submit(scheduler: Scheduler, **changes: object) -> str:
    """A training that goes on for a minute, or until `hurry`; with a network of its own for as long as that takes."""
    values = {**OPTIONS, "train_epochs": EPOCHS, "model_name": "Model", "dataset": DATASET, "random_seed": 1, **changes}
    job_id = scheduler.submit(GenericImageModelSpec.model_validate(values))
    (scheduler.folder(job_id).path / SLOWLY).touch()
    return job_id


def hurry(scheduler: Scheduler, job_id: str) -> None:
    """Let the training be done soon."""
    (scheduler.folder(job_id).path / SLOWLY).unlink()


def polled(scheduler: Scheduler, store: Store, job_id: str, look: Callable[[JobRecord], object]) -> JobRecord:
    """The job as soon as it looks so."""

    def seen() -> JobRecord | None:
        scheduler.poll()
        job = store.get(job_id)
        return job if look(job) else None

    found = until(seen, 60, "the job is so")
    assert found is not None
    return found


def has_snapshot(job: JobRecord) -> bool:
    return job.status is Status.RUNNING and bool(job.summary.get("snapshots"))


def resumed(scheduler: Scheduler, job: JobRecord) -> int:
    """How many workers have said that they go on, and were heard. Until then, a snapshot is one of the run before."""
    return scheduler.folder(job.id).events.read_bytes()[: job.event_offset].count(b'{"type":"resumed"')


def has_ended(job: JobRecord) -> bool:
    return not job.status.is_running


def kill(scheduler: Scheduler, job_id: str) -> None:
    """SIGKILL for the worker and all of its session."""
    os.killpg(worker_pid(scheduler, job_id), signal.SIGKILL)


def power_cut(scheduler: Scheduler, job_id: str) -> None:
    """The worker is gone, and this scheduler, which has not seen it, does nothing any more."""
    kill(scheduler, job_id)
    process = scheduler.workers.known[job_id].process
    assert process is not None
    process.wait()


def history(store: Store, job_id: str) -> list[str]:
    return [change.status.value for change in store.status_changes(job_id)]


def test_a_killed_training_is_taken_up_again_by_itself(scheduler: Scheduler, store: Store) -> None:
    job_id = submit(scheduler)
    polled(scheduler, store, job_id, has_snapshot)
    kill(scheduler, job_id)
    hurry(scheduler, job_id)
    job = polled(scheduler, store, job_id, has_ended)
    assert (job.status, job.cause) == (Status.DONE, None)
    assert history(store, job_id) == ["Initialized", "Waiting", "Running", "Waiting", "Running", "Done"]
    assert job.summary["snapshots"] == list(range(1, EPOCHS + 1))
    messages = [event["text"] for event in all_events(scheduler.folder(job_id).events) if event["type"] == "message"]
    (why,) = [text for text in messages if "Taken up again" in text]
    assert why.startswith("Killed from outside (SIGKILL)")
    assert job.summary["sparkline"]["seen"] == EPOCHS * 24, "no step counts twice"


def test_trainings_that_ran_when_the_machine_went_down_go_on_when_it_is_up(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher
) -> None:
    job_id = submit(scheduler)
    polled(scheduler, store, job_id, has_snapshot)
    power_cut(scheduler, job_id)
    hurry(scheduler, job_id)
    successor = Scheduler(tmp_path, store, Resources(), launcher)
    job = polled(successor, store, job_id, has_ended)
    assert (job.status, job.cause) == (Status.DONE, None)
    assert job.summary["sparkline"]["seen"] == EPOCHS * 24


def test_a_training_that_kills_its_worker_at_the_same_place_ends_with_the_reason(
    scheduler: Scheduler, store: Store
) -> None:
    text = NETWORK.replace(
        "def noisy(input, label):",
        "import os\n\nsteps = [0]\n\ndef noisy(input, label):\n    steps[0] += 1\n    steps[0] < 40 or os.kill(os.getpid(), 9)",
    )
    job_id = submit(scheduler, custom_network=text, train_epochs=20, snapshot_interval=10, val_interval=0)
    job = polled(scheduler, store, job_id, has_ended)
    assert job.status is Status.ERROR
    assert "Killed from outside (SIGKILL)" in (job.cause or "")
    assert f"ended so {MOST_CRASHES_AT_ONE_PLACE} times at the same place" in (job.cause or "")
    assert "before its first snapshot" in (job.cause or "")
    assert history(store, job_id).count("Running") == MOST_CRASHES_AT_ONE_PLACE


def test_a_training_that_comes_further_each_time_is_taken_up_as_often_as_it_takes(
    scheduler: Scheduler, store: Store
) -> None:
    text = NETWORK.replace(
        "def noisy(input, label):",
        "import os\n\nsteps = [0]\n\ndef noisy(input, label):\n    steps[0] += 1\n    steps[0] < 40 or os.kill(os.getpid(), 9)",
    )
    job_id = submit(scheduler, custom_network=text, train_epochs=6, val_interval=0)
    job = polled(scheduler, store, job_id, has_ended)
    assert (job.status, job.cause) == (Status.DONE, None)
    assert history(store, job_id).count("Running") > MOST_CRASHES_AT_ONE_PLACE


def test_an_aborted_training_is_resumed_when_a_person_asks(scheduler: Scheduler, store: Store) -> None:
    job_id = submit(scheduler)
    polled(scheduler, store, job_id, has_snapshot)
    scheduler.abort(job_id)
    assert polled(scheduler, store, job_id, has_ended).status is Status.ABORTED
    scheduler.resume(job_id)
    assert store.get(job_id).status is Status.WAITING
    with pytest.raises(Refused, match="it is Waiting"):
        scheduler.resume(job_id)
    hurry(scheduler, job_id)
    job = polled(scheduler, store, job_id, has_ended)
    assert job.status is Status.DONE
    assert job.summary["sparkline"]["seen"] == EPOCHS * 24
    with pytest.raises(Refused, match="it is Done"):
        scheduler.resume(job_id)


def test_a_paused_training_rests_through_a_restart_of_the_server_and_goes_on_when_a_person_asks(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher
) -> None:
    job_id = submit(scheduler)
    polled(scheduler, store, job_id, has_snapshot)
    scheduler.pause(job_id)
    job = polled(scheduler, store, job_id, has_ended)
    assert (job.status, job.cause, job.wish) == (Status.PAUSED, None, None)
    with pytest.raises(Refused, match="it is Paused"):
        scheduler.pause(job_id)
    successor = Scheduler(tmp_path, store, Resources(), launcher)
    successor.poll()
    assert store.get(job_id).status is Status.PAUSED
    hurry(scheduler, job_id)
    successor.resume(job_id)
    job = polled(successor, store, job_id, has_ended)
    assert (job.status, job.cause) == (Status.DONE, None)
    assert job.summary["sparkline"]["seen"] == EPOCHS * 24
    assert history(store, job_id)[2:] == ["Running", "Paused", "Waiting", "Running", "Done"]


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("wish", ["abort", "pause"])
def test_a_stop_that_was_asked_for_when_the_server_went_down_is_no_crash(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher, wish: str, is_cut: bool
) -> None:
    job_id = submit(scheduler)
    polled(scheduler, store, job_id, has_snapshot)
    getattr(scheduler, wish)(job_id)
    if is_cut:
        power_cut(scheduler, job_id)
    successor = Scheduler(tmp_path, store, Resources(), launcher)
    job = polled(successor, store, job_id, has_ended)
    assert job.status is Wish(wish).status
    assert ("It was asked to stop, and ended without" in (job.cause or "")) == is_cut
    assert history(store, job_id)[2:] == ["Running", Wish(wish).status]
    hurry(scheduler, job_id)
    successor.resume(job_id)
    assert polled(successor, store, job_id, has_ended).status is Status.DONE


def test_an_abort_stands_and_what_is_paused_can_be_aborted_or_deleted(scheduler: Scheduler, store: Store) -> None:
    running, waiting, other = (submit(scheduler) for _ in range(3))
    polled(scheduler, store, running, has_snapshot)
    scheduler.abort(running)
    scheduler.pause(running)
    for job_id in (waiting, other):
        scheduler.pause(job_id)
        assert store.get(job_id).status is Status.PAUSED
    assert polled(scheduler, store, running, has_ended).status is Status.ABORTED
    scheduler.abort(waiting)
    assert store.get(waiting).status is Status.ABORTED
    scheduler.delete(other)
    assert not scheduler.folder(other).path.exists()


def test_a_training_that_was_paused_before_it_began_begins_when_it_is_resumed(
    scheduler: Scheduler, store: Store
) -> None:
    job_id = submit(scheduler, train_epochs=2)
    scheduler.pause(job_id)
    scheduler.poll()
    assert store.get(job_id).status is Status.PAUSED
    scheduler.resume(job_id)
    assert polled(scheduler, store, job_id, has_ended).status is Status.DONE
    assert not [event for event in all_events(scheduler.folder(job_id).events) if event["type"] == "resumed"]


def test_an_interrupted_train_longer_ends_as_one_that_was_not(
    tmp_path: Path, store: Store, scheduler: Scheduler, launcher: Launcher
) -> None:
    ids = [submit(scheduler, train_epochs=2, batch_size=8) for _ in range(2)]
    for job_id in ids:
        hurry(scheduler, job_id)
        polled(scheduler, store, job_id, has_ended)
        # As if the server had died before it could queue the training.
        extend(scheduler.folder(job_id), 2, 2, Extension(epochs=7))
        scheduler.train_longer(job_id, Extension(epochs=3, learning_rate=0.02))
        assert polled(scheduler, store, job_id, has_ended).status is Status.DONE
    whole, killed = ids
    for job_id in ids:
        scheduler.train_longer(job_id, Extension(epochs=EPOCHS))
        if job_id == killed:
            (scheduler.folder(job_id).path / SLOWLY).touch()
            polled(scheduler, store, job_id, lambda job: has_snapshot(job) and job.summary["snapshots"][-1] > 7)
            power_cut(scheduler, job_id)
            hurry(scheduler, job_id)
            scheduler = Scheduler(tmp_path, store, Resources(), launcher)
        assert polled(scheduler, store, job_id, has_ended).status is Status.DONE
    ended, other = (job_of(scheduler, job_id) for job_id in ids)
    assert weights(ended, 5 + EPOCHS) == weights(other, 5 + EPOCHS)
    assert told(ended) == told(other)
    assert told(other)["step"] == list(range(1, 12 * (5 + EPOCHS) + 1))
    rates = told(other)["learning_rate"]
    assert (rates[-1], rates[24], rates[23]) == (0.02, 0.02, pytest.approx(0.0001))
    assert store.get(whole).summary["sparkline"]["seen"] == 12 * (5 + EPOCHS)


def job_of(scheduler: Scheduler, job_id: str) -> WorkerJob:
    folder = scheduler.folder(job_id)
    return WorkerJob(folder, parse_spec(folder.read_spec()), EventWriter(folder.events))


def test_a_training_that_the_system_stops_goes_on_when_it_can(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher
) -> None:
    job_id = submit(scheduler)
    polled(scheduler, store, job_id, has_snapshot)
    # As every process gets it when a machine is shut down.
    worker = scheduler.workers.known[job_id].process
    assert worker is not None
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait() == 0
    hurry(scheduler, job_id)
    successor = Scheduler(tmp_path, store, Resources(), launcher)
    job = polled(successor, store, job_id, has_ended)
    assert (job.status, job.cause) == (Status.DONE, None)
    messages = [event["text"] for event in all_events(scheduler.folder(job_id).events) if event["type"] == "message"]
    assert any(text.startswith("Stopped from outside (SIGTERM)") and "Taken up again" in text for text in messages)


def let_pass(store: Store, job_id: str, hours: float) -> None:
    """As if all that became of the job so far had been so much earlier."""
    with store._transaction() as connection:
        connection.execute("UPDATE status_changes SET time = time - ? WHERE job_id = ?", (3600 * hours, job_id))


def test_a_time_limit_is_one_of_all_runs_until_an_end_and_then_begins_anew(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher
) -> None:
    job_id = submit(scheduler, train_epochs=100_000, time_limit=2.5)
    polled(scheduler, store, job_id, has_snapshot)
    # An hour until a pause, two hours of rest, and one until a crash.
    let_pass(store, job_id, 1)
    scheduler.pause(job_id)
    polled(scheduler, store, job_id, has_ended)
    let_pass(store, job_id, 2)
    scheduler.resume(job_id)
    polled(scheduler, store, job_id, lambda job: resumed(scheduler, job) == 1)
    let_pass(store, job_id, 1)
    power_cut(scheduler, job_id)
    successor = Scheduler(tmp_path, store, Resources(), launcher)
    polled(successor, store, job_id, lambda job: resumed(scheduler, job) == 2)
    assert 2 * 3600 < store.elapsed_since_end(job_id) < 2.5 * 3600
    let_pass(store, job_id, 0.6)
    # A server that comes now looks at the whole time.
    successor = Scheduler(tmp_path, store, Resources(), launcher)
    job = polled(successor, store, job_id, has_ended)
    assert job.status is Status.ABORTED
    assert job.cause == "It reached its time limit of 2.5 hours. Resume lets it go on from there for as long again."
    assert history(store, job_id).count("Running") == 3
    successor.resume(job_id)
    polled(successor, store, job_id, has_snapshot)
    assert store.elapsed_since_end(job_id) < 3600 < 2.5 * 3600 < (store.elapsed(job_id) or 0)
    successor.abort(job_id)
    polled(successor, store, job_id, has_ended)


def test_time_in_which_the_machine_was_off_does_not_count_towards_the_limit(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher
) -> None:
    job_id = submit(scheduler, train_epochs=100_000, time_limit=2.5)
    polled(scheduler, store, job_id, has_snapshot)
    power_cut(scheduler, job_id)
    # It ran for an hour, and the machine was off for ten.
    let_pass(store, job_id, 11)
    events = scheduler.folder(job_id).events
    moment = events.stat().st_mtime - 10 * 3600
    os.utime(events, (moment, moment))
    successor = Scheduler(tmp_path, store, Resources(), launcher)
    polled(successor, store, job_id, lambda job: history(store, job_id).count("Running") == 2 and has_snapshot(job))
    assert 3600 <= store.elapsed_since_end(job_id) < 2.5 * 3600
    successor.abort(job_id)
    polled(successor, store, job_id, has_ended)


def test_a_time_limit_holds_while_a_step_has_no_end(scheduler: Scheduler, store: Store) -> None:
    text = NETWORK.replace(
        "def noisy(input, label):",
        """import pathlib
import time

steps = [0]

def noisy(input, label):
    steps[0] += 1
    if steps[0] > 40:
        pathlib.Path("endless").touch()
        time.sleep(999)""",
    )
    job_id = submit(scheduler, custom_network=text, time_limit=1)
    polled(scheduler, store, job_id, lambda _: (scheduler.folder(job_id).path / "endless").exists())
    store.note_time_limit(job_id, 1e-6)
    scheduler._time_limits.forget(job_id)
    polled(scheduler, store, job_id, lambda job: job.wish is Wish.TIME_LIMIT)
    polled(scheduler, store, job_id, lambda job: scheduler.workers.known[job_id].kill_at)
    kill(scheduler, job_id)
    job = polled(scheduler, store, job_id, has_ended)
    assert job.status is Status.ABORTED
    assert (job.cause or "").startswith("It reached its time limit of 1e-06 hours. Resume lets it go on from there")
    assert (job.cause or "").endswith(ENDED_BY_FORCE)


def test_what_a_job_took_is_known_when_the_list_is_lost(tmp_path: Path, scheduler: Scheduler, store: Store) -> None:
    """A worker that crashed said nothing more until the next one began, long after."""
    job_id = submit(scheduler, train_epochs=4, time_limit=2)
    hurry(scheduler, job_id)
    polled(scheduler, store, job_id, has_ended)
    lines = scheduler.folder(job_id).events.read_text().splitlines()
    began = time.time() - 100_000
    told: list[str] = []
    for moment, type in (
        (0, "started"),
        (3000, "snapshot"),
        (90_000, "started"),
        (92_000, "snapshot"),
        (92_001, "stopped"),
    ):
        (line,) = [line for line in lines if f'"type":"{type}"' in line][:1] or ['{"type":"stopped"}']
        told.append(json.dumps(json.loads(line) | {"time": began + moment}, separators=(",", ":")))
    scheduler.folder(job_id).events.write_text("\n".join(told) + "\n")
    keep_wish(scheduler.folder(job_id), Wish.TIME_LIMIT)
    assert store._connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,)).rowcount == 1
    assert enter_missing(store, tmp_path) == 1
    job = store.get(job_id)
    assert store.elapsed(job_id) == pytest.approx(5001, abs=0.1)
    assert (job.status, job.time_limit) == (Status.ABORTED, 2)
    assert (job.cause or "").startswith("It reached its time limit of 2 hours. Resume lets it go on")


@pytest.mark.parametrize("wish", ["pause", "abort"])
@pytest.mark.parametrize("has_begun", [True, False])
def test_what_rests_does_not_begin_by_itself_when_the_list_is_lost(
    scheduler: Scheduler, store: Store, tmp_path: Path, wish: str, has_begun: bool
) -> None:
    job_id = submit(scheduler)
    if has_begun:
        polled(scheduler, store, job_id, has_snapshot)
    getattr(scheduler, wish)(job_id)
    polled(scheduler, store, job_id, has_ended)
    before = store.elapsed_since_end(job_id)
    moments = [event["time"] for event in all_events(scheduler.folder(job_id).events)]
    # An abort is an end, from which on its time counts anew.
    took = moments[-1] - moments[0] if wish == "pause" and has_begun else 0.0
    assert took <= before, "the start of a worker counts, too"
    assert store._connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,)).rowcount == 1
    assert enter_missing(store, tmp_path) == 1
    scheduler.poll()
    assert store.get(job_id).status is Wish(wish).status
    assert store.elapsed_since_end(job_id) == pytest.approx(took, abs=0.01)
    hurry(scheduler, job_id)
    if has_begun or wish == "pause":
        scheduler.resume(job_id)
        assert polled(scheduler, store, job_id, has_ended).status is Status.DONE
        assert not scheduler.folder(job_id).wish.exists()


@pytest.mark.parametrize("wish", ["pause", "abort"])
@pytest.mark.parametrize("had_begun", [True, False])
def test_what_rests_does_not_begin_by_itself_when_an_older_list_is_put_back(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher, wish: str, had_begun: bool
) -> None:
    job_id = submit(scheduler, train_epochs=100_000)
    if had_begun:
        polled(scheduler, store, job_id, has_snapshot)
    copy = copy_of(tmp_path / "store.sqlite")
    polled(scheduler, store, job_id, has_snapshot)
    getattr(scheduler, wish)(job_id)
    polled(scheduler, store, job_id, has_ended)
    again = put_back(copy, tmp_path)
    successor = Scheduler(tmp_path, again, Resources(), launcher)
    for _ in range(5):
        successor.poll()
    assert again.get(job_id).status is Wish(wish).status
    assert history(again, job_id).count("Running") == 1
    assert again.get(job_id).summary["snapshots"] == store.get(job_id).summary["snapshots"]
    shortest, longest = seconds_at_work(scheduler.folder(job_id)), store.elapsed(job_id) or 0
    assert shortest - 0.01 <= (again.elapsed(job_id) or 0) <= longest + 0.01


@pytest.mark.parametrize("state", ["waiting", "running", "paused"])
def test_a_worker_that_an_older_list_does_not_know_is_heard(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher, state: str
) -> None:
    job_id = submit(scheduler, train_epochs=100_000)
    if state != "waiting":
        polled(scheduler, store, job_id, has_snapshot)
    if state == "paused":
        scheduler.pause(job_id)
        polled(scheduler, store, job_id, has_ended)
    copy = copy_of(tmp_path / "store.sqlite")
    if state == "running":
        scheduler.pause(job_id)
        polled(scheduler, store, job_id, has_ended)
    if state == "waiting":
        polled(scheduler, store, job_id, has_snapshot)
    else:
        scheduler.resume(job_id)
        polled(scheduler, store, job_id, lambda job: resumed(scheduler, job) == 1)
    again = put_back(copy, tmp_path)
    successor = Scheduler(tmp_path, again, Resources(), launcher)
    heard = again.get(job_id).event_offset
    polled(successor, again, job_id, lambda job: job.event_offset > heard)
    assert again.get(job_id).status is Status.RUNNING
    assert worker_pid(successor, job_id) == worker_pid(scheduler, job_id)
    successor.abort(job_id)
    assert polled(successor, again, job_id, has_ended).status is Status.ABORTED


def test_a_training_that_went_on_and_ended_is_done_when_an_older_list_is_put_back(
    scheduler: Scheduler, store: Store, tmp_path: Path, launcher: Launcher
) -> None:
    job_id = submit(scheduler)
    polled(scheduler, store, job_id, has_snapshot)
    scheduler.pause(job_id)
    polled(scheduler, store, job_id, has_ended)
    copy = copy_of(tmp_path / "store.sqlite")
    hurry(scheduler, job_id)
    scheduler.resume(job_id)
    before = polled(scheduler, store, job_id, has_ended)
    again = put_back(copy, tmp_path)
    job = again.get(job_id)
    assert (before.status, job.status, job.summary) == (Status.DONE, Status.DONE, before.summary)
    shortest, longest = seconds_at_work(scheduler.folder(job_id)), store.elapsed(job_id) or 0
    assert shortest - 0.01 <= (again.elapsed(job_id) or 0) <= longest + 0.01
    assert history(again, job_id) == ["Initialized", "Waiting", "Running", "Paused", "Running", "Done"]


def test_a_worker_that_dies_at_once_after_a_resume_has_not_ended_as_the_one_before(
    scheduler: Scheduler, store: Store
) -> None:
    job_id = submit(scheduler)
    polled(scheduler, store, job_id, has_snapshot)
    scheduler.abort(job_id)
    polled(scheduler, store, job_id, has_ended)
    scheduler.resume(job_id)
    scheduler.poll()
    process = scheduler.workers.known[job_id].process
    assert process is not None
    process.kill()
    process.wait()
    hurry(scheduler, job_id)
    job = polled(scheduler, store, job_id, has_ended)
    assert job.status is Status.DONE, "its end before was an abort, this one a crash"


def test_what_cannot_be_resumed_says_why(scheduler: Scheduler, store: Store) -> None:
    job_id = submit(scheduler)
    scheduler.abort(job_id)
    with pytest.raises(Refused, match=r"It has left no snapshot to go on from\. Clone the job"):
        scheduler.resume(job_id)
    other = submit(scheduler)
    polled(scheduler, store, other, has_snapshot)
    scheduler.abort(other)
    polled(scheduler, store, other, has_ended)
    folder = scheduler.folder(other)
    for epoch in folder.snapshot_epochs():
        folder.snapshot(epoch).write_bytes(b"This is a text.")
    with pytest.raises(Refused, match=r"The snapshot of epoch 1 is damaged: it has 15 bytes"):
        scheduler.resume(other)
    assert store.get(other).status is Status.ABORTED
