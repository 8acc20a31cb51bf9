"""Trainings whose workers are really killed, and what becomes of them: the same weights and losses as without a crash."""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from jobs.folder import JobFolder
from jobs.worker import WorkerJob
from tests.conftest import until
from tests.unit.digits_jobs import events_of, make_dataset, model_job
from tests.unit.test_resuming import NETWORK, told, weights

KILLS = 6
# Some seconds of steps, with a snapshot and a validation every few of them.
OPTIONS = {"custom_network": NETWORK, "crop_size": 20, "use_mean": "pixel", "train_epochs": 60, "batch_size": 4}


def start(folder: JobFolder) -> subprocess.Popen[bytes]:
    with folder.log.open("ab") as log:
        command = [sys.executable, "-P", "-m", "jobs.worker", str(folder.path)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def kill_after(job: WorkerJob, worker: subprocess.Popen[bytes], steps: int, seconds: float) -> bool:
    """SIGKILL once the worker has told of so many steps of its own, and some milliseconds more; whether it was alive."""
    size = job.folder.events.stat().st_size if job.folder.events.exists() else 0

    def own_steps() -> int:
        if not job.folder.events.exists():
            return 0
        with job.folder.events.open("rb") as file:
            file.seek(size)
            return file.read().count(b'{"type":"train"')

    until(lambda: worker.poll() is not None or own_steps() >= steps, 60, "the worker is at work")
    # Where in a step, a snapshot or a validation it dies is left to chance.
    with suppress(subprocess.TimeoutExpired):
        worker.wait(seconds)
    os.killpg(worker.pid, signal.SIGKILL)
    return worker.wait() == -signal.SIGKILL


def test_killed_at_random_points_a_training_ends_bit_for_bit_as_without(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        make_dataset(tmp_path / name)
    whole, killed = (model_job(tmp_path / name, **OPTIONS) for name in ("whole", "killed"))
    assert start(whole.folder).wait(120) == 0
    chance = random.Random(5)
    kills = sum(
        kill_after(killed, start(killed.folder), chance.randrange(4), chance.uniform(0, 0.3)) for _ in range(KILLS)
    )
    assert kills == KILLS, "the training is long enough to be killed so often"
    assert start(killed.folder).wait(120) == 0
    assert events_of(killed, "finished")
    resumed = [event["step"] for event in events_of(killed, "resumed")]
    assert resumed == sorted(resumed)
    assert resumed[-1] > 0
    assert weights(killed, 60) == weights(whole, 60)
    assert told(killed) == told(whole)
    frames = [event["frame"] for event in events_of(killed, "frame")]
    assert len(frames) == len(set(frames))
    assert not list(killed.folder.path.rglob("*.tmp"))
