"""Jobs that ended long ago, entered as the scheduler would have: for lists that are longer than a test can wait for."""

import json
import random
from datetime import datetime, timedelta

from jobs.folder import JobFolder
from jobs.statuses import Status
from jobs.store import Store
from jobs.summaries import Summary, apply_event
from webapp.config import Settings

BEGINNING = datetime(2026, 1, 5, 9, 0, 0).astimezone()
NAMES = ("Autoencoder with a 50-node code", "MNIST, generic", "Faces 64×64, convolutional", "baseline", "ÜBERBLICK")


def write_past_jobs(settings: Settings, count: int) -> list[str]:
    """Every fifth is a dataset, the others are models that read it; their ids, oldest first. No server may run."""
    settings.make_folders()
    store = Store(settings.database)
    # Only a loss of power could tell the difference.
    store._connection.execute("PRAGMA synchronous=OFF")
    chance = random.Random(count)
    summaries = [learned(chance) for _ in range(20)]
    ids: list[str] = []
    dataset = ""
    for index in range(count):
        began = BEGINNING + timedelta(minutes=20 * index)
        # As `new_job_id` makes them, but never by chance with the digits that a test filters for.
        job_id = f"{began:%Y%m%d-%H%M%S}-{index:04x}"
        if index % 5 == 0:
            dataset = job_id
        parent = None if job_id == dataset else dataset
        summary = chance.choice(summaries) if parent else {"progress": 1.0}
        name = f"{NAMES[index // 5 % 5]} {index}"
        write_past_job(settings, store, job_id, name, began.timestamp(), chance, parent, summary)
        ids.append(job_id)
    store.close()
    return ids


def write_past_job(settings: Settings, store: Store, job_id: str, name: str, began: float, chance: random.Random,
                   parent: str | None, summary: Summary) -> None:  # fmt: skip
    """One job with its folder; a dataset when it has no parent."""
    kind = "generic-image-model" if parent else "generic-image-dataset"
    folder = JobFolder(settings.jobs_dir / job_id)
    folder.path.mkdir()
    # Without an fsync.
    folder.spec.write_text(json.dumps({"kind": kind}))
    group = chance.choice(("", "", "sweep"))
    store.add(job_id, kind, "model" if parent else "dataset", name, group, began, parent, "pytorch" if parent else None)
    store.move(job_id, Status.INITIALIZED, Status.WAITING, began + 0.1)
    store.move(job_id, Status.WAITING, Status.RUNNING, began + 1.0, device="cpu")
    store.record_events(job_id, 0, 20_000, summary)
    after = chance.choice([Status.DONE] * 8 + [Status.ERROR, Status.ABORTED])
    cause = "The network's output has 28×28 values an image and its target 32×32." if after is Status.ERROR else None
    store.move(job_id, Status.RUNNING, after, began + chance.uniform(3, 900), cause=cause)


def learned(chance: random.Random) -> Summary:
    """What 30 epochs say, folded."""
    folded: Summary = {}
    first = chance.uniform(0.05, 0.3)
    for epoch in range(1, 31):
        losses = [first / epoch * chance.uniform(0.9, 1.1) for _ in range(20)]
        apply_event(folded, {"type": "train", "loss": losses})
        apply_event(folded, {"type": "validation", "loss": losses[-1] * 1.05})
        apply_event(folded, {"type": "snapshot", "epoch": epoch})
    apply_event(folded, {"type": "finished"})
    return folded
