"""What people ask of jobs that there are: end, rest, go on, train longer, be gone. Refused says why not."""

from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import replace

from jobs.errors import Refused
from jobs.folder import remove_folder
from jobs.kept_wishes import forget_wish, keep_wish
from jobs.registry import job_kind
from jobs.scheduling.listeners import Listeners
from jobs.scheduling.moves import Moves
from jobs.scheduling.register import Register
from jobs.statuses import RESUMABLE, Status, Wish
from jobs.store import JobRecord, Store
from jobs.training.plan import Extension, ends, extend, read_extensions
from jobs.training.snapshot_files import SnapshotFile, newest_good_snapshot


class Wishes:
    """Each takes the `turn` that the rounds take, too, so that nobody meets a job between two of its states."""

    def __init__(self, store: Store, register: Register, moves: Moves, listeners: Listeners,
                 turn: AbstractContextManager[object]) -> None:  # fmt: skip
        self._store = store
        self._register = register
        self._moves = moves
        self._listeners = listeners
        self._turn = turn

    def abort(self, job_id: str, to_delete: bool) -> None:
        """End a job. Where that is only to delete it then, it is refused if the deletion would be."""
        with self._turn:
            job = self._store.get(job_id)
            if to_delete:
                self.refuse_if_read(job)
            if not job.status.is_running and job.status is not Status.PAUSED:
                raise Refused("Job not aborted: it does not run.")
            self._stop(job, Wish.ABORT)

    def pause(self, job_id: str) -> None:
        """Let a training rest until it is resumed."""
        with self._turn:
            job = self._store.get(job_id)
            if not job_kind(job.kind).resumes:
                raise Refused(f'Cannot pause "{job.name}": only trainings can go on later. It was left alone.')
            if not job.status.is_running:
                raise Refused(f'Cannot pause "{job.name}": it is {job.status}. What runs or waits can be paused.')
            self._stop(job, Wish.PAUSE)

    def _stop(self, job: JobRecord, wish: Wish) -> None:
        """Stop a job at once if no worker is at it, else in the next round."""
        # The wish is kept first, so that a server that comes after this one knows of it. An abort stands.
        if job.wish is not Wish.ABORT:
            keep_wish(self._register.folder(job.id), wish)
        if self._store.wish(job.id, wish):
            return
        is_new = wish is Wish.ABORT and job.event_offset == 0
        self._moves.move(job, wish.status, cause="Aborted before it began." if is_new else None)

    def stop_at_time_limit(self, job_id: str) -> None:
        with self._turn:
            job = self._store.get(job_id)
            if job.status is Status.RUNNING and job.wish is None:
                self._stop(job, Wish.TIME_LIMIT)

    def resume(self, job_id: str) -> SnapshotFile | None:
        """Queue a training that was paused, was aborted or failed once more. Its worker goes on from the newest good
        snapshot: that is the answer, None where there is none yet."""
        job = self._store.get(job_id)
        # Without taking a turn: snapshots are read to their end for it.
        newest = self._snapshot_to_resume(job)
        with self._turn:
            # Read again: somebody may have resumed and aborted it meanwhile, and it has said more.
            job = self._store.get(job_id)
            if job.status not in RESUMABLE:
                raise Refused(f'Cannot resume "{job.name}": it is being resumed already.')
            # First: what waits and has a wish in its folder rests again when the next server starts.
            forget_wish(self._register.folder(job_id))
            self._moves.queue_again(job)
        return newest

    def _snapshot_to_resume(self, job: JobRecord) -> SnapshotFile | None:
        """Raise Refused, with what to do instead, where there is nothing to go on with."""
        if job.status not in RESUMABLE:
            raise Refused(
                f'Cannot resume "{job.name}": it is {job.status}. What was paused, was aborted or failed can be resumed.'
            )
        if not job_kind(job.kind).resumes:
            raise Refused(f'Cannot resume "{job.name}": only trainings can go on. Clone the job to begin anew.')
        newest = newest_good_snapshot(self._register.folder(job.id))
        # One that was paused before it had a snapshot begins anew, as it would have after a crash.
        if newest.snapshot is None and (job.status is not Status.PAUSED or newest.damaged):
            found = " ".join(newest.damaged.values()) or "It has left no snapshot to go on from."
            raise Refused(f'Cannot resume "{job.name}". {found} Clone the job to begin anew.')
        return newest.snapshot

    def train_longer(self, job_id: str, extension: Extension) -> SnapshotFile:
        """Queue a training that is done once more, with epochs after those that it had. It goes on from the newest good
        snapshot: that is the answer."""
        job = self._store.get(job_id)
        if not job_kind(job.kind).resumes:
            raise Refused(f'Cannot train "{job.name}" longer: it is no training.')
        self._refuse_unless_done(job)
        folder = self._register.folder(job_id)
        newest = newest_good_snapshot(folder).snapshot
        if newest is None:
            raise Refused(
                f'Cannot train "{job.name}" longer: it has no good snapshot left. Clone the job to begin anew.'
            )
        train_epochs = folder.read_spec(job.spec_sha256)["train_epochs"]
        with self._turn:
            job = self._store.get(job_id)
            self._refuse_unless_done(job)
            # Of one whose last snapshots are damaged, the newest good one would not tell which epochs it has had.
            epochs_done = int(job.summary.get("epochs", newest.epoch))
            extend(folder, train_epochs, epochs_done, extension)
            share = min(1.0, newest.epoch / ends(train_epochs, read_extensions(folder))[-1])
            forget_wish(folder)
            self._moves.queue_again(replace(job, summary={**job.summary, "progress": share}))
        return newest

    @staticmethod
    def _refuse_unless_done(job: JobRecord) -> None:
        if job.status is not Status.DONE:
            instead = " Resume it instead." if job.status in RESUMABLE else ""
            raise Refused(f'Cannot train "{job.name}" longer: it is {job.status}, and not Done.{instead}')

    def delete(self, job_id: str) -> None:
        """Forget a job and remove its folder. Refused while it runs, and while other jobs read it."""
        with self._turn:
            job = self._store.get(job_id)
            self.refuse_if_read(job)
            if job.status.is_running:
                raise Refused(f'Cannot delete "{job.name}" while it runs. Abort it first.')
            doomed = self._register.strike(job)
        # What cannot be removed now is removed when the next server starts.
        with suppress(OSError):
            remove_folder(doomed)
        self._listeners.tell_deletion(job)

    def refuse_if_read(self, job: JobRecord, deleted: Collection[str] = ()) -> None:
        """Raise Refused where other jobs than those, taken as deleted, read this one."""
        readers = [reader for reader in self._store.children(job.id, None) if reader.id not in deleted]
        if readers:
            names = ", ".join(reader.words_for(job) for reader in readers)
            verb = "job depends" if len(readers) == 1 else "jobs depend"
            raise Refused(
                f'Cannot delete "{job.name}" because {len(readers)} {verb} on it: {names}. Delete those first.'
            )
