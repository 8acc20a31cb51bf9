"""Jobs come and go: each has a folder and a row, both or neither, wherever the server dies between."""

import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from jobs.attributes import Attributes, keep_attributes
from jobs.errors import Refused, disk_faults_in_words
from jobs.folder import JobFolder, new_job_id, publish, remove_folder, write_json
from jobs.reading import reads_private
from jobs.registry import job_kind
from jobs.specs import JobSpec
from jobs.store import JobRecord, Store


class Register:
    def __init__(self, jobs_dir: Path, store: Store) -> None:
        self._jobs_dir = jobs_dir
        self._store = store

    def folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._jobs_dir / job_id)

    def enter(self, spec: JobSpec, owner: str | None, private: bool) -> str:
        """Write the job's folder and its row, and return its id. After an error there is nothing of it.

        A job that reads a private one is private, too.
        """
        now = datetime.now().astimezone()
        kind = job_kind(spec.kind)
        parent_id = spec.parent_id(self._jobs_dir)
        private = private or reads_private(spec, self._store, self._jobs_dir)
        with disk_faults_in_words():
            job_id, sha256 = self._make_folder(spec, now, Attributes(owner=owner, private=private))
        try:
            self._store.add(job_id, kind.id, kind.family, spec.name, getattr(spec, "group_name", ""), now.timestamp(),
                            parent_id, getattr(spec, "framework", None), spec_sha256=sha256, owner=owner,
                            private=private)  # fmt: skip
        except BaseException:
            shutil.rmtree(self.folder(job_id).path, ignore_errors=True)
            raise
        return job_id

    def _make_folder(self, spec: JobSpec, now: datetime, attributes: Attributes) -> tuple[str, str]:
        """The job's id, and the SHA-256 of its spec."""
        while (self._jobs_dir / (job_id := new_job_id(now))).exists():
            pass
        unfinished = JobFolder(self._jobs_dir / f".{job_id}.new")
        try:
            unfinished.path.mkdir()
            write_json(unfinished.spec, spec.model_dump(mode="json"))
            sha256 = unfinished.spec_sha256()
            if attributes != Attributes():
                keep_attributes(unfinished, attributes)
            publish(unfinished.path, self._jobs_dir / job_id)
        except BaseException:
            shutil.rmtree(unfinished.path, ignore_errors=True)
            raise
        return job_id, sha256

    def strike(self, job: JobRecord) -> Path:
        """Forget a job; what is left of its folder, out of sight, for the caller to remove. Refused where another job was
        made of it meanwhile."""
        # Out of sight in one step, and before the row: a folder without one would be entered again.
        doomed = self._jobs_dir / f".{job.id}.deleted"
        # Somebody may have removed the folder by hand.
        with suppress(FileNotFoundError):
            self.folder(job.id).path.rename(doomed)
        if not self._store.delete(job.id):
            with suppress(FileNotFoundError):
                doomed.rename(self.folder(job.id).path)
            raise Refused(f'Cannot delete "{job.name}": another job was made of it in this moment.')
        return doomed

    def sweep(self) -> None:
        """Remove what a server that died had not finished making or removing, and that is no job (any more)."""
        for leftover in self._jobs_dir.glob(".*.deleted"):
            self._store.delete(leftover.name.removeprefix(".").removesuffix(".deleted"))
            remove_folder(leftover)
        for leftover in self._jobs_dir.glob(".*.new"):
            remove_folder(leftover)
