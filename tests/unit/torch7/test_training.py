"""A model job in Lua, from its text to Test One, as the worker and the predictor do it."""

import re
from pathlib import Path

import pytest
from PIL import Image

from jobs.events import Event
from jobs.folder import JobFolder
from jobs.networks.starter import starter_network
from jobs.predictor import PredictionRequest, Predictor
from jobs.training.job import train
from tests.unit.digits_jobs import DATASET, digits, events_of, make_dataset, model_job
from tests.unit.torch7 import networks

TWIN = """
from torch import nn

autoencoder = nn.Sequential(
    Scale(0.00390625), nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 50), nn.ReLU(),
    nn.Linear(50, 300), nn.ReLU(), nn.Linear(300, 784), nn.Unflatten(1, (1, 28, 28)))

def network(params):
    return dict(model=autoencoder, loss=nn.MSELoss(), train_batch_size=64, validation_batch_size=100,
                label_hook=lambda input, label: input)
"""


def losses(events: list[Event]) -> list[float]:
    return [loss for event in events for loss in event["loss"]]


def test_lua_and_its_twin_in_python_have_one_curve(tmp_path: Path) -> None:
    curves = []
    for framework, text in (("torch", networks.AUTOENCODER), ("pytorch", TWIN)):
        jobs_dir = tmp_path / framework
        make_dataset(jobs_dir)
        job = model_job(jobs_dir, framework=framework, custom_network=text, train_epochs=3)
        train(job)
        curves.append((losses(events_of(job, "train")), [event["loss"] for event in events_of(job, "validation")]))
    assert curves[0] == curves[1]
    assert len(curves[0][0]) == 6


def test_a_training_in_lua_says_torchs_names_and_shows_its_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, framework="torch", custom_network=starter_network((1, 28, 28), "torch"))
    train(job)
    (network,) = events_of(job, "network")
    assert network["printed"].startswith("nn.Sequential {\n  [input -> (1) -> ")
    assert network["printed"] in capsys.readouterr().out
    assert "nn.Linear(784 -> 300)" in [layer["name"] for layer in network["layers"]]
    assert network["layers"][network["code_layer"]]["name"] == "nn.Linear(300 -> 50)"
    assert events_of(job, "frame")
    assert not events_of(job, "message") or all(event["level"] != "warning" for event in events_of(job, "message"))


def test_a_network_in_lua_is_tested_on_a_picture(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, framework="torch", custom_network=networks.AUTOENCODER)
    train(job)
    picture = tmp_path / "three.png"
    Image.fromarray(digits(4)[3, 0]).save(picture)
    predictor = Predictor(job.folder, JobFolder(tmp_path / DATASET))
    prediction = predictor.predict(PredictionRequest(picture, "three.png", show_visualizations=True))
    assert len(prediction["outputs"]["output"][0][0]) == 28
    assert any(re.fullmatch(r"nn\.Linear\(300 -> 50\)", row["name"]) for row in prediction["layers"])


def test_a_tied_autoencoder_learns_and_is_tested_as_it_was_trained(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    job = model_job(tmp_path, framework="torch", custom_network=networks.TIED_AUTOENCODER, train_epochs=4)
    train(job)
    curve = losses(events_of(job, "train"))
    assert curve[-1] < curve[0]
    picture = tmp_path / "three.png"
    Image.fromarray(digits(4)[3, 0]).save(picture)
    predictor = Predictor(job.folder, JobFolder(tmp_path / DATASET))
    prediction = predictor.predict(PredictionRequest(picture, "three.png", show_visualizations=True))
    (output,) = prediction["outputs"]["output"]
    assert len(output[0]) == 28
    assert [row["name"] for row in prediction["layers"]].count("nn.Linear(32 -> 784)") >= 1
