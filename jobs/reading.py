"""Which jobs read which: a dataset, or a file in another job's folder that their form names."""

from pathlib import Path

from jobs.errors import LayerscopeError
from jobs.folder import JobFolder, jobs_read_by
from jobs.registry import parse_spec
from jobs.specs import JobSpec
from jobs.store import JobRecord, Store


def reads_private(spec: JobSpec, store: Store, jobs_dir: Path) -> bool:
    """Whether a job of this spec reads one that is private, or a file in its folder."""
    return any(store.is_private(job_id) for job_id in jobs_read_by(spec, jobs_dir))


def readers_of(job_id: str, store: Store, jobs_dir: Path) -> list[JobRecord]:
    """Every job that reads this one or a file in its folder, whosoever it is. Looks at the specs of all jobs."""
    return [job for job in store.all() if _reads(job, job_id, jobs_dir)]


def _reads(job: JobRecord, job_id: str, jobs_dir: Path) -> bool:
    if job.parent_id == job_id:
        return True
    try:
        spec = parse_spec(JobFolder(jobs_dir / job.id).read_spec(job.spec_sha256))
    except (LayerscopeError, OSError, ValueError, KeyError, TypeError, RecursionError):
        # It has no folder any more, or something else in its spec's place: it will never be done, or not again.
        return False
    return job.id != job_id and job_id in jobs_read_by(spec, jobs_dir)
