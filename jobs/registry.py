"""The kinds of jobs that there are. Ours and those of third parties come through the same entry points."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

from jobs.specs import JobSpec


@dataclass(frozen=True)
class JobKind:
    """One kind of dataset or model.

    `title` is DIGITS's name of the job type. `category` and `label` place the kind in the menus; `url` is where its
    "new" page and its form live below `/datasets` or `/models`. `run` names, as `module:function`, what the worker
    calls with its `WorkerJob`; it is imported in the worker only. `feeds` is the kind of model that can learn from a dataset.
    `resumes`: a worker that comes to a job which another left goes on with it from the newest snapshot that is good.
    Else it begins anew, in a folder without what the other made.
    `starts_processes`: its worker makes copies of itself, which the work of all others has no use for.
    """

    id: str
    family: Literal["dataset", "model"]
    title: str
    category: str
    label: str
    url: str
    spec: type[JobSpec]
    run: str
    feeds: str | None = None
    resumes: bool = False
    starts_processes: bool = False


@cache
def job_kinds() -> dict[str, JobKind]:
    """Every installed kind by id, in the order of their menus."""
    found: list[JobKind] = [entry.load() for entry in entry_points(group="layerscope.kinds")]
    return {kind.id: kind for kind in sorted(found, key=lambda kind: (kind.family, kind.category, kind.label))}


def job_kind(kind_id: str) -> JobKind:
    """The kind of this id; KeyError with the known ids when no installed kind has it."""
    kinds = job_kinds()
    if kind_id not in kinds:
        raise KeyError(f"There is no job kind {kind_id!r}; installed are: {', '.join(kinds)}.")
    return kinds[kind_id]


def parse_spec(spec: dict[str, Any]) -> JobSpec:
    """A `spec.json` as the model of its kind."""
    return job_kind(spec["kind"]).spec.model_validate(spec)
