"""How long after a step its loss is drawn in a browser, alone and among a hundred pages, and what those cost the training."""

import json
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

import psutil

from jobs.folder import JobFolder
from tests.benchmarks.bench import Bench, epoch_ends, events_of
from tests.benchmarks.chromium import chromium_page
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.open_pages import open_pages
from tests.conftest import until

# Keeps each message of the socket with the time at which the frame after it has been drawn.
LISTEN = """
window.messages = [];
window.WebSocket = class extends WebSocket {
    constructor(...parameters) {
        super(...parameters);
        this.addEventListener("message", ({ data }) => {
            requestAnimationFrame(() => requestAnimationFrame(() => window.messages.push([Date.now() / 1000, data])));
        });
    }
};
"""
EVENTS = '42/jobs,["job events",'
WINDOWS = 4


def measure(bench: Bench) -> list[Figure]:
    figures = []
    for visitors in (1, bench.scale.visitors):
        delays = delays_of_steps(bench, visitors)
        last_percent = statistics.quantiles(delays, n=100)[-1]
        pages = "1 page" if visitors == 1 else f"{visitors} pages"
        steps = f"{len(delays):,} steps"
        figures += [
            Figure(f"from step to drawn, {pages} open, median", "s", [statistics.median(delays)], at_most(0.3), steps),
            Figure(f"from step to drawn, {pages} open, 99th percentile", "s", [last_percent], at_most(1), steps),
        ]
    lost, taken = cost(bench)
    pages = f"{bench.scale.visitors} open pages"
    return [
        *figures,
        Figure(f"what {pages} cost the training", "%", lost, at_most(3), "visitors on the same cores"),
        Figure(f"what the server takes of a core for {pages}", "%", taken),
    ]


def training(bench: Bench) -> JobFolder:
    """A training that runs until it is aborted, with its first epoch behind it."""
    # Few enough steps that each is a point of the curve, and more than anybody waits for.
    job = bench.site.train(bench.model_form(train_epochs="250"))
    until(lambda: len(epoch_ends(job)) > 1, 120, "the training has begun")
    return job


def delays_of_steps(bench: Bench, visitors: int) -> list[float]:
    """Of all steps that a page hears of in its time. One of the visitors is Chromium, where they are drawn."""
    job = training(bench)
    try:
        with open_pages(bench.site.url, job.id, visitors - 1), chromium_page(LISTEN) as page:
            page.goto(f"{bench.site.url}/models/{job.id}")
            page.locator("[data-points]:not([data-points='0'])").wait_for(state="attached")
            page.evaluate("() => { window.messages = []; }")
            page.wait_for_timeout(1000 * bench.scale.seconds_watched)
            messages: list[tuple[float, str]] = page.evaluate("() => window.messages")
    finally:
        bench.site.abort(job)
    done = dict(steps_done(job))
    heard = ((drawn, event) for drawn, message in messages for event in events_in(message) if event["type"] == "train")
    return [drawn - done[step] for drawn, event in heard for step in event["step"]]


def events_in(message: str) -> list[dict[str, Any]]:
    if not message.startswith(EVENTS):
        return []
    name_and_content = json.loads(message[message.index("[") :])
    events: list[dict[str, Any]] = name_and_content[1]["events"]
    return events


def steps_done(job: JobFolder) -> Iterator[tuple[int, float]]:
    """Every step and when it was done: those that were told together share the time since the ones before evenly."""
    last_step, last_time = 0, events_of(job, "network")[0]["time"]
    for event in events_of(job, "train"):
        seconds_a_step = (event["time"] - last_time) / (event["step"][-1] - last_step)
        for step in event["step"]:
            yield step, last_time + (step - last_step) * seconds_a_step
        last_step, last_time = event["step"][-1], event["time"]


def cost(bench: Bench) -> tuple[list[float], list[float]]:
    """Per cent by which epochs are longer while the pages are open, compared with the same training just before; and per
    cent of a core that the server is at work meanwhile.
    """
    job = training(bench)
    windows, taken = [], []
    try:
        for _ in range(2 * WINDOWS):
            visitors = bench.scale.visitors if len(windows) % 2 else 0
            with open_pages(bench.site.url, job.id, visitors):
                begin, used = time.time(), processor_seconds(bench)
                # Two whole epochs at least lie in each window.
                epochs = len(epoch_ends(job))
                until(lambda epochs=epochs: len(epoch_ends(job)) > epochs + 2, 120, "epochs pass", wait=pause)
                pause(1000 * bench.scale.seconds_watched / WINDOWS)
                windows.append((begin, time.time()))
                taken.append(100 * (processor_seconds(bench) - used) / (time.time() - begin))
    finally:
        bench.site.abort(job)
    ends = epoch_ends(job)
    seconds = [mean_epoch([end for end in ends if begin < end < over]) for begin, over in windows]
    lost = [100 * (opened / closed - 1) for closed, opened in zip(seconds[::2], seconds[1::2], strict=True)]
    return lost, taken[1::2]


def processor_seconds(bench: Bench) -> float:
    """What the server has used so far: the process that was started, and gunicorn's worker below it in the same session."""
    server = psutil.Process(bench.site.server.process.pid)
    session = [child for child in server.children() if os.getsid(child.pid) == os.getsid(server.pid)]
    times = [process.cpu_times() for process in [server, *session]]
    return sum(used.user + used.system for used in times)


def mean_epoch(ends: list[float]) -> float:
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def pause(milliseconds: float) -> None:
    time.sleep(milliseconds / 1000)
