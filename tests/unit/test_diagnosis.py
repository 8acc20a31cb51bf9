"""Sentences about a network in trouble, and silence about a healthy one."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jobs.errors import TrainingDiverged
from jobs.layers import Weights, weight_rows
from jobs.networks.starter import starter_network
from jobs.networks.tracing import traced
from jobs.pictures import Pen
from jobs.training.diagnosis import State, diagnose
from jobs.training.job import train
from tests.unit.digits_jobs import events_of, make_dataset, model_job

SEED = starter_network((1, 28, 28))
DROPOUT_AND_NORM = """
def network(params):
    model = nn.Sequential(Scale(1 / 256), nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.3),
                          nn.Flatten(), nn.Linear(1352, 40), nn.BatchNorm1d(40), nn.ELU(), nn.Dropout(0.5),
                          nn.Linear(40, 784), nn.Unflatten(1, (1, 28, 28)))
    return dict(model=model, loss=nn.MSELoss(), label_hook=lambda input, label: input, train_batch_size=32)
"""


@pytest.fixture
def sentences(tmp_path: Path):
    """The warnings of a training's frames, each with its layer, a list a frame."""
    make_dataset(tmp_path, train=512, val=16)

    def sentences(text: str = SEED, **changes: Any) -> list[list[tuple[int | None, str]]]:
        job = model_job(tmp_path, custom_network=text, **changes)
        with suppress(TrainingDiverged):
            train(job)
        return [
            [(warning["layer"], warning["text"]) for warning in event["warnings"]] for event in events_of(job, "frame")
        ]

    return sentences


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_starter_network_is_healthy_untrained_and_trained(sentences, seed):
    found = sentences(train_epochs=25, random_seed=seed, solver_type="ADAM", learning_rate=0.001)
    assert len(found) >= 2, "of the untrained and of the trained"
    assert all(warnings == [] for warnings in found)


def test_dropout_and_norms_are_healthy(sentences):
    assert all(warnings == [] for warnings in sentences(DROPOUT_AND_NORM, train_epochs=6))


def test_a_rate_that_kills_the_code_is_told(sentences):
    found = sentences(train_epochs=40, solver_type="NESTEROV", learning_rate=0.01, lr_policy="fixed")
    codes = [text for warnings in found for layer, text in warnings if layer == 4]
    assert any(text.endswith("of 50 code units never fire.") for text in codes)


def test_a_rate_that_gives_nan_is_told(sentences):
    last = sentences(train_epochs=30, learning_rate=100)[-1]
    assert last == [(2, "nn.Linear(784 → 300) has weights that are not finite (NaN or infinity).")]


def dead_code(count: int) -> str:
    """The seed with so many silent units in its code."""
    return SEED.replace(
        "def network(params):",
        f"with torch.no_grad():\n    autoencoder[4].bias[:{count}] = -1e6\n\ndef network(params):",
    )


def test_silent_code_units_are_counted(sentences):
    assert sentences(dead_code(31), train_epochs=1)[-1] == [(4, "31 of 50 code units never fire.")]


def test_a_code_that_is_silent_altogether_is_the_cause_of_the_rest(sentences):
    found = sentences(dead_code(50), train_epochs=1)
    assert found[0] == [(4, "50 of 50 code units never fire."), (None, "The output is the same for every image.")]
    assert found[-1][2][1] == "No gradient reached nn.Linear(784 → 300) and 2 other layers in the last step."


def test_a_layer_in_the_middle_is_named(sentences):
    text = SEED.replace(
        "def network(params):",
        "with torch.no_grad():\n    autoencoder[6].bias[:200] = -1e6\n\ndef network(params):",
    )
    ((layer, sentence),) = sentences(text, train_epochs=1)[-1]
    assert layer == 6
    assert re.fullmatch(r"2\d\d of 300 units of nn\.Linear\(50 → 300\) never fire\.", sentence)


def test_a_gradient_that_fades_on_its_way_back_is_told(sentences):
    # Each sigmoid takes three quarters of the gradient, and the weights some more.
    text = """
def network(params):
    layers = [part for _ in range(10) for part in (nn.Linear(20, 20), nn.Sigmoid())]
    model = nn.Sequential(Scale(1 / 256), nn.Flatten(), nn.Linear(784, 20), *layers, nn.Linear(20, 784),
                          nn.Unflatten(1, (1, 28, 28)))
    return dict(model=model, loss=nn.MSELoss(), label_hook=lambda input, label: input)
"""
    last = sentences(text, train_epochs=1)[-1]
    assert any("Hardly any gradient reaches nn.Linear(784 → 20) and" in text for _, text in last)


def test_frozen_layers_need_no_gradient(sentences):
    text = SEED.replace("def network(params):", "autoencoder[2].requires_grad_(False)\n\ndef network(params):")
    assert sentences(text, train_epochs=1)[-1] == []


def test_a_step_that_is_larger_than_the_weights_is_told():
    layer = nn.Linear(10, 5)
    with torch.no_grad(), traced(layer) as trace:
        layer(torch.rand(1, 10))
    weights = [Weights("weight", torch.ones(5, 10), torch.tensor(1000.0))]
    rows = weight_rows(trace.calls[0], weights, Pen("jet"))

    def told(learning_rate: float | None) -> list[str]:
        return [warning.text for warning in diagnose(State(7, rows, [], None, False, learning_rate))]

    assert told(0.01) == ["A step changes nn.Linear(10 → 5) by more than its own size. Try a lower learning rate."]
    assert told(0.001) == []
    assert told(None) == []
