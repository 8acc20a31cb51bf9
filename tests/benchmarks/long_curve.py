"""The page of a training with very many points."""

import math
import random
import time
from itertools import pairwise

import requests

from jobs.events import EventWriter
from jobs.folder import JobFolder
from tests.benchmarks.bench import Bench, events_of
from tests.benchmarks.chromium import chromium_page, seconds_until_shown
from tests.benchmarks.figures import Figure

POINTS_A_BLOCK = 200
EPOCHS = 100
DRAWN = """document.querySelector("[data-role=loss-chart] canvas")
    && Number(document.querySelector("[data-points]").dataset.points) > 0"""
MOVES = 60
# Times of all frames from now on.
COUNT_FRAMES = """() => {
    window.frames_at = [];
    const note = (now) => { window.frames_at.push(now); requestAnimationFrame(note); };
    requestAnimationFrame(note);
}"""


def measure(bench: Bench) -> list[Figure]:
    job = bench.site.train(bench.model_form(train_epochs="1", select_gpu="cpu"))
    bench.site.wait(job)
    write_long_curve(job, bench.scale.curve_points)
    url = f"{bench.site.url}/models/{job.id}"
    with chromium_page() as page:
        first_answer = seconds_of_curve(url)
        answers = [seconds_of_curve(url) for _ in range(bench.scale.repetitions)]
        drawn = [seconds_until_shown(page, url, DRAWN) for _ in range(bench.scale.repetitions)]
        box = page.locator("[data-role=loss-chart] canvas").bounding_box()
        assert box is not None
        page.evaluate(COUNT_FRAMES)
        for move in range(MOVES):
            page.mouse.move(box["x"] + box["width"] * (0.1 + 0.8 * move / MOVES), box["y"] + box["height"] / 2)
        times: list[float] = page.evaluate("() => window.frames_at")
    frames = [(after - before) / 1000 for before, after in pairwise(times)]
    points = f"{bench.scale.curve_points:,} points"
    return [
        Figure(f"curve of {points}, first answer of the server", "s", [first_answer]),
        Figure(f"curve of {points}, later answers", "s", answers),
        Figure(f"page with {points}, drawn in Chromium", "s", drawn),
        Figure("time between two frames while the crosshair moves", "s", frames),
    ]


def seconds_of_curve(url: str) -> float:
    began = time.perf_counter()
    requests.get(f"{url}/curve.json", timeout=60).raise_for_status()
    return time.perf_counter() - began


def write_long_curve(job: JobFolder, points: int) -> None:
    """Give a short training that is done the events of a long one."""
    network = {name: value for name, value in events_of(job, "network")[0].items() if name not in ("type", "time")}
    job.events.unlink()
    events = EventWriter(job.events)
    events.write("started")
    events.write("network", **network | {"steps_per_epoch": points // EPOCHS, "epochs": EPOCHS})
    chance = random.Random(points)
    for start in range(0, points, POINTS_A_BLOCK):
        steps = list(range(start + 1, min(start + POINTS_A_BLOCK, points) + 1))
        losses = [400 + 3000 * math.exp(-step / points * 20) + chance.gauss(0, 15) for step in steps]
        epochs = [round(step * EPOCHS / points, 6) for step in steps]
        events.write("train", step=steps, epoch=epochs, loss=losses, learning_rate=[0.01] * len(steps))
    events.write("finished")
