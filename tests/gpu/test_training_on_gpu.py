"""A whole training on a GPU, as the server starts it. These need a GPU, and are skipped without one."""

import os
import signal
from pathlib import Path

import pytest
import torch

from jobs.children import Launcher
from jobs.networks.starter import starter_network
from jobs.processes import start_worker
from jobs.worker import WorkerJob
from tests.conftest import until
from tests.unit.digits_jobs import curve, events_of, make_dataset, model_job
from tests.unit.test_resuming import told, weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")


@pytest.mark.parametrize("settings", [{}, {"cuda_graph": False}, {"precision": "bfloat16"}, {"allow_tf32": True}])
def test_a_network_learns_on_the_gpu_and_gives_its_memory_back(tmp_path: Path, settings: dict[str, object]) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, train_epochs=20, batch_size=16, learning_rate=0.02, select_gpu="0", **settings)
    free = torch.cuda.mem_get_info()[0]
    worker = start_worker(job.folder, job.spec, "gpu 0", Launcher())
    assert worker.wait(120) == 0, job.folder.log.read_text()
    (network,) = events_of(job, "network")
    assert network["device"] == "cuda:0"
    losses = curve(job)
    assert len(losses) == 20 * 6
    assert losses[-1] < 0.9 * losses[0]
    gpu = events_of(job, "usage")[0]["gpu"]
    assert gpu["memory_used"] > 0
    until(lambda: torch.cuda.mem_get_info()[0] >= free - 2**20, 20, "the GPU's memory is free again")


def test_graph_and_eager_learn_the_same_on_the_gpu(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    curves = []
    for is_captured in (True, False):
        job = model_job(tmp_path, train_epochs=4, batch_size=16, cuda_graph=is_captured)
        job.folder.events.unlink(missing_ok=True)
        assert start_worker(job.folder, job.spec, "gpu 0", Launcher()).wait(120) == 0
        curves.append(torch.tensor(curve(job)))
    assert torch.allclose(*curves, rtol=1e-3)


@pytest.mark.parametrize("is_captured", [True, False])
def test_killed_on_the_gpu_a_training_with_a_seed_ends_bit_for_bit_as_without(
    tmp_path: Path, is_captured: bool
) -> None:
    text = starter_network((1, 28, 28)).replace("nn.ReLU(),", "nn.ReLU(), nn.Dropout(0.1),", 1)
    options = {"custom_network": text, "train_epochs": 60, "batch_size": 8, "cuda_graph": is_captured}
    jobs = []
    for name in ("whole", "killed"):
        make_dataset(tmp_path / name)
        jobs.append(model_job(tmp_path / name, **options))
    whole, killed = jobs
    assert start_worker(whole.folder, "gpu 0").wait(120) == 0
    for epochs in (5, 20, 40):
        kill_after(killed, epochs)
    assert start_worker(killed.folder, "gpu 0").wait(120) == 0
    assert len(events_of(killed, "resumed")) == 3
    assert weights(killed, 60) == weights(whole, 60)
    assert told(killed) == told(whole)


def kill_after(job: WorkerJob, snapshots: int) -> None:
    worker = start_worker(job.folder, "gpu 0")
    until(lambda: len(events_of(job, "snapshot")) >= snapshots or worker.poll() is not None, 120, "it has come so far")
    os.killpg(worker.pid, signal.SIGKILL)
    assert worker.wait(20) == -signal.SIGKILL
