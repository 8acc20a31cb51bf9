"""Which jobs read which, whatever lies in a job's folder."""

from pathlib import Path

import pytest

from jobs.datasets.image_classification import ImageClassificationDatasetSpec
from jobs.reading import readers_of
from jobs.scheduling.register import Register
from jobs.store import Store


@pytest.mark.parametrize("written", ["[" * 100_000, "null", "[]", "{}", '{"kind": []}', "no JSON"])
def test_a_spec_that_pasted_code_has_written_over_keeps_nobody_from_asking(tmp_path: Path, written: str) -> None:
    """As who makes a dataset private does, of all jobs."""
    store, jobs_dir = Store(tmp_path / "store.sqlite"), tmp_path / "jobs"
    jobs_dir.mkdir()
    register = Register(jobs_dir, store)
    spec = ImageClassificationDatasetSpec(dataset_name="digits", folder_train=str(tmp_path))
    asked, other = (register.enter(spec, owner=None, private=False) for _ in range(2))
    # One that stood in a list which was lost has no SHA-256 any more.
    store.add("made-anew", "generic-image-model", "model", "LeNet", "", 1.0, None)
    register.folder("made-anew").path.mkdir()
    for job_id in (other, "made-anew"):
        register.folder(job_id).spec.write_text(written)
    assert readers_of(asked, store, jobs_dir) == []
