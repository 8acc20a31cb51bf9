"""The events of a training that never was: as many points as a test wants, in a moment."""

import math
from pathlib import Path

from jobs.events import EventWriter, all_events, in_words

STEPS_PER_EPOCH = 100


def write_training(
    path: Path, losses: list[float], block: int = 200, validate: bool = True, learning_rates: list[float] | None = None
) -> EventWriter:
    """Events as a worker writes them, from the first step on."""
    writer = EventWriter(path)
    epochs = math.ceil(len(losses) / STEPS_PER_EPOCH)
    writer.write("network", steps_per_epoch=STEPS_PER_EPOCH, epochs=epochs)
    write_points(writer, losses, block, learning_rates)
    for epoch in range(1, epochs + 1 if validate else 1):
        writer.write("validation", step=epoch * STEPS_PER_EPOCH, epoch=float(epoch), loss=epoch / 10)
    return writer


def write_points(
    writer: EventWriter,
    losses: list[float],
    block: int = 200,
    learning_rates: list[float] | None = None,
    after: int = 0,
) -> None:
    """One point a step, the first of them after step `after`."""
    rates = learning_rates or [0.1] * len(losses)
    for start in range(0, len(losses), block):
        places = range(start, min(start + block, len(losses)))
        writer.write(
            "train",
            step=[after + place + 1 for place in places],
            epoch=[round((after + place + 1) / STEPS_PER_EPOCH, 6) for place in places],
            loss=[in_words(losses[place]) for place in places],
            learning_rate=[rates[place] for place in places],
        )
        writer.write("progress", fraction=(places[-1] + 1) / len(losses))


def retold(path: Path, losses: list[float], learning_rates: list[float] | None = None) -> None:
    """The events of a job that has ended, with other points; the page of the job takes them for its own."""
    before = list(all_events(path))
    path.unlink()
    writer = EventWriter(path)
    epochs = math.ceil(len(losses) / STEPS_PER_EPOCH)
    for event in before:
        type, _ = event.pop("type"), event.pop("time")
        if type == "network":
            event |= {"steps_per_epoch": STEPS_PER_EPOCH, "epochs": epochs}
        if type == "finished":
            write_points(writer, losses, learning_rates=learning_rates)
            for epoch in range(1, epochs + 1):
                loss = losses[min(epoch * STEPS_PER_EPOCH, len(losses)) - 1]
                writer.write("validation", step=epoch * STEPS_PER_EPOCH, epoch=float(epoch), loss=in_words(loss))
        if type not in ("train", "validation", "progress"):
            writer.write(type, **event)
