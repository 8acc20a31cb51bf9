"""What becomes of a job, by how its worker ended, what that said and what was wished of it."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.events import STATUS_CANNOT_WRITE
from jobs.processes import KILLED_BY_KERNEL, KILLED_BY_WATCH
from jobs.scheduling.endings import (
    ENDED_BY_FORCE,
    ENDED_WHILE_AWAY,
    STOPPED_FROM_OUTSIDE,
    STOPPED_ON_BAD_DISK,
    Ending,
    Endings,
    status_and_cause,
    was_interrupted,
)
from jobs.scheduling.listeners import Listeners
from jobs.scheduling.moves import Moves
from jobs.scheduling.register import Register
from jobs.scheduling.remarks import Remarks
from jobs.statuses import Status, Wish
from jobs.store import JobRecord, Store

BY_ITSELF = Ending(moment=1.0, returncode=0, killed_for_memory=None, words_before_order=None, was_asked=False)
KILLED = replace(BY_ITSELF, returncode=-signal.SIGKILL)
NO_MEMORY = replace(KILLED, killed_for_memory=KILLED_BY_KERNEL)
NO_ROOM = replace(BY_ITSELF, returncode=STATUS_CANNOT_WRITE, was_asked=True)
AWAY = replace(BY_ITSELF, returncode=None)
OVER_LIMIT = replace(AWAY, killed_for_memory=KILLED_BY_WATCH)
STOPPED: dict[str, Any] = {"outcome": "stopped"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store.sqlite")
    store.add("a", "generic-image-model", "model", "LeNet", "", 1.0, None)
    store.move("a", Status.INITIALIZED, Status.RUNNING, 2.0)
    return store


@pytest.fixture
def job(store: Store) -> JobRecord:
    return store.get("a")


@pytest.mark.parametrize(
    ("summary", "wish", "ending", "status", "cause", "interrupted"),
    [
        pytest.param({"outcome": "finished"}, Wish.ABORT, KILLED, Status.DONE, None, False, id="done before it was asked"),
        pytest.param({"outcome": "failed", "cause": "No room."}, None, BY_ITSELF, Status.ERROR, "No room.", False, id="failed"),
        pytest.param(STOPPED, Wish.PAUSE, BY_ITSELF, Status.PAUSED, None, False, id="paused"),
        pytest.param({}, Wish.ABORT, replace(KILLED, returncode=-signal.SIGTERM), Status.ABORTED, None, False, id="too early"),
        pytest.param({}, Wish.ABORT, replace(KILLED, was_asked=True), Status.ABORTED, ENDED_BY_FORCE, False, id="by force"),
        pytest.param({}, Wish.PAUSE, NO_ROOM, Status.PAUSED, STOPPED_ON_BAD_DISK, False, id="paused on a full disk"),
        pytest.param({}, Wish.ABORT, NO_ROOM, Status.ABORTED, STOPPED_ON_BAD_DISK, False, id="aborted on a full disk"),
        pytest.param(STOPPED, Wish.TIME_LIMIT, BY_ITSELF, Status.ABORTED, "limit of 1 hour.", False, id="its time is over"),
        pytest.param({}, Wish.PAUSE, AWAY, Status.PAUSED, ENDED_WHILE_AWAY, False, id="asked by a server that is gone"),
        pytest.param(STOPPED, None, BY_ITSELF, Status.ABORTED, STOPPED_FROM_OUTSIDE, True, id="shut down"),
        pytest.param(STOPPED | {"cause": "Time."}, None, BY_ITSELF, Status.ABORTED, "Time.", False, id="its own reason"),
        pytest.param({}, None, BY_ITSELF, Status.ERROR, "ended by itself with status 0", False, id="ended without a word"),
        pytest.param({}, None, KILLED, Status.ERROR, "Killed from outside", True, id="killed"),
        pytest.param({}, None, NO_MEMORY, Status.ERROR, "out of memory", True, id="memory"),
        pytest.param({}, None, OVER_LIMIT, Status.ERROR, KILLED_BY_WATCH, True, id="watch"),
        pytest.param({}, None, AWAY, Status.ERROR, "the server was started anew since", True, id="died while nobody looked"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_job(
    job: JobRecord, summary: dict[str, Any], wish: Wish | None, ending: Ending, status: Status, cause: str | None,
    interrupted: bool,
) -> None:  # fmt: skip
    job = replace(job, summary=summary, wish=wish, time_limit=1.0)
    assert was_interrupted(job, ending) is interrupted
    found, words = status_and_cause(job, ending)
    assert found is status
    assert words is None if cause is None else cause in (words or "")


@pytest.mark.parametrize("step", [10**30, -(10**30), -1])
def test_a_manifest_that_pasted_code_wrote_keeps_no_job_from_ending(tmp_path: Path, store: Store, step: int) -> None:
    register, listeners = Register(tmp_path, store), Listeners()
    folder = register.folder("a")
    folder.snapshots.mkdir(parents=True)
    folder.snapshot(1).touch()
    manifest = {"epoch": 1, "step": step, "size": 0, "sha256": ""}
    folder.snapshot(1).with_suffix(".json").write_text(json.dumps(manifest))
    Endings(register, Moves(store, Remarks(listeners), listeners)).conclude(store.get("a"), KILLED)
    assert store.get("a").status is Status.WAITING
    assert store.get("a").crashed_after_step == 0
