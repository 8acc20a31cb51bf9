"""Opens the list of jobs: as the job folders have it, which are the truth, and made anew of them when its file is damaged."""

import logging
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from jobs.errors import DamagedDatabase
from jobs.folder import JobFolder
from jobs.reconciling import NO_JOB, reconcile
from jobs.registry import job_kind, job_kinds
from jobs.store import Store

log = logging.getLogger(__name__)


def open_store(database: Path, jobs_dir: Path) -> Store:
    """The list of jobs as their folders have it. A file that is damaged is set aside, and the list made anew.

    One server at a time may do this.
    """
    try:
        store = _sound_store(database, jobs_dir)
    except DamagedDatabase as damage:
        aside = set_aside(database)
        log.error("The list of jobs is damaged (%s). It is made anew from the job folders; kept as %s.", damage, aside)
        store = Store(database)
    try:
        reconcile(store, jobs_dir)
    except BaseException:
        store.close()
        raise
    return store


def _sound_store(database: Path, jobs_dir: Path) -> Store:
    """DamagedDatabase, too, where a job is of a kind that there is not, and that of its folder is."""
    store = Store(database)
    try:
        for job in store.not_of_kinds(job_kinds()):
            with suppress(*NO_JOB):
                kind = job_kind(JobFolder(jobs_dir / job.id).read_spec()["kind"])
                raise DamagedDatabase(f"a job of the kind {kind.id} is called one of the kind {job.kind}")
    except BaseException:
        store.close()
        raise
    return store


def set_aside(database: Path, why: str = "damaged") -> Path:
    """Take the file out of the way, with what belongs to it, and keep it for who wants to look; its new name."""
    aside = database.with_name(f"{database.name}.{why}-{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}")
    for ending in ("-wal", "-shm", ""):
        part = database.with_name(database.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    return aside


def damaged_lists(database: Path) -> list[Path]:
    """Files that were set aside and that nobody has removed since, oldest first."""
    found = database.parent.glob(f"{database.name}.damaged-*")
    return sorted(path for path in found if not path.name.endswith(("-wal", "-shm")))
