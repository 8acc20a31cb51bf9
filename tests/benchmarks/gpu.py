"""The seed on a GPU, beside the same rivals there."""

import subprocess
import sys
import time

import pynvml

from tests.benchmarks.bench import Bench
from tests.benchmarks.epoch_time import Rival, against_worker
from tests.benchmarks.figures import Figure, at_least, at_most

EPOCHS_OF_SEED = 30
NO_GPU = "no GPU here"
SECONDS_TO_GIVE_BACK = 3.0


def measure(bench: Bench) -> list[Figure]:
    whole_seed, memory = "30 epochs of the seed, from Create to Done", "memory that a job has not given back"
    if not has_gpu():
        return [
            Figure(whole_seed, "s", aim=at_most(10), note=NO_GPU),
            Figure(memory, "MiB", aim=at_most(1), note=NO_GPU),
            Figure("epoch of the worker and of (a), (b), (d)", "s", note=NO_GPU),
        ]
    before = memory_in_use()
    seconds = [seconds_of_seed(bench) for _ in range(bench.scale.rounds)]
    time.sleep(SECONDS_TO_GIVE_BACK)
    left = max(0.0, memory_in_use() - before)
    return [
        Figure(whole_seed, "s", seconds, at_most(10)),
        Figure(memory, "MiB", [left], at_most(1)),
        *against_worker(bench, rivals(), "cuda"),
    ]


def has_gpu() -> bool:
    """Asked of a process that ends: this one keeps no hold on the GPU."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def rivals() -> list[list[Rival]]:
    return [
        [
            Rival("(b) a bare PyTorch loop on the GPU", "bare_loop", at_least(1)),
            Rival("a captured step, replayed", "graph_replay", is_limit=True),
        ],
        [
            Rival("(d) PyTorch Lightning", "lightning", at_least(1)),
            Rival("(d) Keras 3 on torch", "keras", at_least(1)),
        ],
        [Rival("(a) the usual script, no loader workers", "plain_script", at_least(5), 0, epochs=1)],
        [Rival("(a) the usual script, 2 loader workers", "plain_script", at_least(5), 2, epochs=1)],
    ]


def seconds_of_seed(bench: Bench) -> float:
    """With the options of the form, snapshots included."""
    form = bench.model_form(train_epochs=str(EPOCHS_OF_SEED), snapshot_interval="1")
    began = time.monotonic()
    bench.site.wait(bench.site.train(form))
    return time.monotonic() - began


def memory_in_use() -> float:
    """MiB of all GPUs, whoever uses them."""
    pynvml.nvmlInit()
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return sum(pynvml.nvmlDeviceGetMemoryInfo(handle).used for handle in handles) / 2**20
    finally:
        pynvml.nvmlShutdown()
