"""A training that begins with the weights of a file of Torch7."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.errors import UserError
from jobs.training.checkpoints import load_snapshot
from jobs.training.job import train
from tests.t7_writer import TorchObject, module, save_t7, tensor
from tests.unit.digits_jobs import curve, events_of, make_dataset, model_job

NETWORK = """
require 'nn'
return function(params)
    local net = nn.Sequential()
    net:add(nn.MulConstant(1 / 256)):add(nn.View(-1):setNumInputDims(3)):add(nn.Linear(784, 3)):add(nn.ReLU())
    net:add(nn.Linear(3, 10)):add(nn.LogSoftMax())
    return { model = net, labelHook = function(input, label) return label + 1 end, fineTuneHook = fineTune }
end
"""


def trained_in_torch(outputs: int = 10) -> TorchObject:
    random = np.random.default_rng(1)
    layers = [
        module("nn.Linear", weight=tensor(random.normal(size=(outs, ins)) / 30), bias=tensor(random.normal(size=outs)))
        for ins, outs in ((784, 3), (3, outputs))
    ]
    return module("nn.Sequential", modules=[module("nn.View"), layers[0], module("nn.ReLU"), layers[1]])


def job_of(folder: Path, **changes: Any) -> Any:
    make_dataset(folder, val=0)
    # So small a step moves no weight of float32.
    options = {"framework": "torch", "custom_network": NETWORK, "learning_rate": 1e-20, "train_epochs": 1}
    return model_job(folder, **(options | changes))


def test_training_begins_with_the_weights_of_the_file(tmp_path):
    model = trained_in_torch()
    job = job_of(tmp_path, pretrained_model=str(save_t7(tmp_path / "snapshot_30_Model.t7", model)))
    train(job)
    kept = list(load_snapshot(job.folder, 1)["model"].values())
    for kept_weight, layer in zip(kept[::2], model.fields["modules"][1::2], strict=True):
        written = layer.fields["weight"]
        assert torch.equal(kept_weight, torch.from_numpy(written.storage.values.reshape(written.sizes)))
    assert any("the weights of 2 layers were taken" in event["text"] for event in events_of(job, "message"))


def test_hook_for_fine_tuning_gets_the_weights(tmp_path):
    """DIGITS's example: a last layer for other classes takes the place of the old one."""
    model = save_t7(tmp_path / "m_Model.t7", trained_in_torch(outputs=7))
    hook = """
function fineTune(net)
    assert(net:get(5).weight:size(1) == 7)
    net:remove(5)
    net:insert(nn.Linear(3, 10), 5)
    return net
end
"""
    text = hook + NETWORK.replace("nn.Linear(3, 10)", "nn.Linear(3, 7)")
    job = job_of(tmp_path, pretrained_model=str(model), custom_network=text)
    train(job)
    assert load_snapshot(job.folder, 1)["model"].popitem()[1].shape == (10,)


def test_weights_of_another_network_end_the_training_before_it_begins(tmp_path):
    path = save_t7(tmp_path / "other_Model.t7", trained_in_torch(outputs=2))
    job = job_of(tmp_path, pretrained_model=str(path))
    with pytest.raises(
        UserError, match=r"other_Model\.t7 does not fit this network: .* has the weight of shape 10 × 3"
    ):
        train(job)
    assert curve(job) == []


def test_file_that_was_deleted_since(tmp_path):
    job = job_of(tmp_path, pretrained_model=str(tmp_path / "gone.t7"))
    with pytest.raises(UserError, match=r"gone\.t7 cannot be read: No such file"):
        train(job)
