"""The home page of somebody who has made many jobs."""

import time

import requests

from tests.benchmarks.bench import Bench, Site, served
from tests.benchmarks.chromium import chromium_page, seconds_until_shown
from tests.benchmarks.figures import Figure, at_most
from tests.past_jobs import write_past_jobs
from webapp.config import Settings

ROW = "document.querySelector('[data-role=rows] tr')"


def measure(bench: Bench) -> list[Figure]:
    figures = []
    for count in bench.scale.listed_jobs:
        data_dir = bench.scratch / f"home-{count}"
        write_past_jobs(Settings(data_dir), count)
        with served(data_dir) as site, chromium_page() as page:
            answers = [seconds_of_answer(site) for _ in range(bench.scale.repetitions)]
            drawn = [seconds_until_shown(page, site.url, ROW) for _ in range(bench.scale.repetitions)]
        figures.append(Figure(f"home page with {count:,} jobs, answered", "s", answers, at_most(0.2)))
        figures.append(Figure(f"home page with {count:,} jobs, drawn in Chromium", "s", drawn, at_most(0.2)))
    return figures


def seconds_of_answer(site: Site) -> float:
    began = time.perf_counter()
    requests.get(site.url, timeout=60).raise_for_status()
    return time.perf_counter() - began
