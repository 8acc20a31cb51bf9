"""From the command to the first answer, and the memory of a server that has shown some pages."""

import os
import time
from pathlib import Path

import psutil
import requests

from tests.benchmarks.bench import Bench, served
from tests.benchmarks.figures import Figure, at_most

PAGES = ("/", "/datasets/images/classification/new", "/models/images/generic/new", "/index.json")


def measure(bench: Bench) -> list[Figure]:
    seconds, memory = [], []
    for number in range(bench.scale.rounds):
        began = time.monotonic()
        with served(empty_folder(bench, number)) as site:
            seconds.append(time.monotonic() - began)
            for page in PAGES:
                requests.get(f"{site.url}{page}", timeout=10)
            memory.append(memory_of_server(site.server.process.pid) / 2**20)
    return [
        Figure("start to the first answer", "s", seconds, at_most(1)),
        Figure("memory of the server's processes", "MiB", memory, at_most(80)),
    ]


def empty_folder(bench: Bench, number: int) -> Path:
    return bench.scratch / f"server-{number}"


def memory_of_server(pid: int) -> int:
    """Bytes, what processes share counted once. The spare worker, which has a session of its own, is none of it."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    own = [process for process in processes if os.getsid(process.pid) == os.getsid(pid)]
    return sum(int(process.memory_full_info().pss) for process in own)
