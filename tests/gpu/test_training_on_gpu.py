"""A whole training on a GPU, as the server starts it. These need a GPU, and are skipped without one."""

from pathlib import Path

import pytest
import torch

from jobs.children import Launcher
from jobs.processes import start_worker
from tests.conftest import until
from tests.unit.digits_jobs import curve, events_of, make_dataset, model_job

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
