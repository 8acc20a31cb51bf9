"""Trainings of networks in Lua go by Torch's solvers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.models.generic_image import Solver
from jobs.networks.contract import NetworkParams
from jobs.torch7.contract import build_lua_network
from jobs.training.checkpoints import load_snapshot
from jobs.training.job import train
from jobs.worker import WorkerJob
from tests.unit.digits_jobs import DATASET, curve, events_of, make_dataset, model_job

AUTOENCODER = """
return function(params)
  local model = nn.Sequential():add(nn.View(784)):add(nn.MulConstant(1 / 256)):add(nn.Linear(784, 5)):add(nn.ReLU())
  model:add(nn.Linear(5, 784)):add(nn.MulConstant(256)):add(nn.View(1, 28, 28):setNumInputDims(1))
  return { model = model, loss = nn.MSECriterion(), labelHook = function(input, label) return input end }
end
"""


def training_of(tmp_path: Path, solver: Solver) -> WorkerJob:
    make_dataset(tmp_path, train=32, val=16, mean=False)
    job = model_job(
        tmp_path, custom_network=AUTOENCODER, framework="torch", solver_type=solver, use_mean="none", live_layers=False
    )
    train(job)
    return job


def test_a_training_leaves_the_rate_of_adam_alone(tmp_path: Path) -> None:
    rates = curve(training_of(tmp_path, "ADAM"), "learning_rate")
    assert len(rates) == 4
    assert set(rates) == {0.01}


def test_validation_sees_the_weights_that_a_snapshot_keeps(tmp_path: Path) -> None:
    """Momentum looks ahead only while the network learns."""
    job = training_of(tmp_path, "NESTEROV")
    images = torch.from_numpy(np.load(tmp_path / DATASET / "val_images.npy")).float()
    for validation in events_of(job, "validation"):
        network = build_lua_network(AUTOENCODER, NetworkParams((1, 28, 28)))
        content = load_snapshot(job.folder, int(validation["epoch"]))
        network.model.load_state_dict(content["model"])
        assert network.loss(network.model.eval()(images), images).item() == pytest.approx(validation["loss"], rel=1e-5)
        # The momentum is so large that the place ahead has another loss.
        for parameter, kept in zip(network.model.parameters(), content["optimizer"]["state"].values(), strict=True):
            parameter.data += 0.9 * kept["velocity"]
        assert network.loss(network.model(images), images).item() != pytest.approx(validation["loss"], rel=1e-4)
