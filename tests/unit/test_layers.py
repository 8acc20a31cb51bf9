"""Statistics of every layer, and which of them is the code."""

import numpy as np
import pytest
import torch
from torch import nn

from jobs.layers import LayerRow, Weights, activation_rows, layer_rows, statistics, weight_rows, weights_of
from jobs.networks.contract import Scale
from jobs.networks.tracing import LayerCall, find_code, traced
from jobs.pictures import Pen


def calls_of(model: nn.Module, shape=(1, 28, 28)):
    with torch.no_grad(), traced(model) as trace:
        model(torch.rand(1, *shape))
    return trace.calls


def code_of(*layers: nn.Module, shape=(1, 28, 28)) -> int | None:
    code = find_code(calls_of(nn.Sequential(*layers), shape), int(np.prod(shape)))
    return None if code is None else code.index


def test_statistics_are_those_of_numpy():
    found = statistics(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert found.shape == [2, 2]
    assert (found.mean, found.minimum, found.maximum) == (3, 1, 6)
    assert found.std == pytest.approx(np.std([1, 2, 3, 6]))
    assert len(found.histogram["edges"]) == 21
    assert sum(found.histogram["counts"]) == 4


@pytest.mark.parametrize(
    "values", [[np.nan, 1, 2], [5, 5, 5], [3e38, -3e38], [1e30, np.nextafter(1e30, 2e30)], [np.nan]]
)
def test_statistics_of_odd_values_are_finite_or_none(values):
    found = statistics(np.array(values, np.float64))
    numbers = [found.mean, found.std, found.minimum, found.maximum]
    assert all(number is None or np.isfinite(number) for number in numbers)


def test_values_that_are_no_numbers_are_counted_and_left_out():
    found = statistics(np.array([np.nan, 1, 3, np.inf]))
    assert (found.not_finite, found.mean, found.maximum) == (2, 2, 3)


def test_statistics_of_many_values_are_those_of_numpy():
    values = np.random.default_rng(0).normal(100, 1, 200_000).astype(np.float32)
    found = statistics(values)
    assert found.std == pytest.approx(values.astype(np.float64).std())
    assert found.histogram["counts"] == pytest.approx(np.histogram(values.astype(np.float64), 20)[0], abs=2)


def test_table_has_weights_once_and_units_and_gradients():
    shared = nn.Linear(20, 20)
    calls = calls_of(nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(2304, 20), shared, shared))

    def rows_of(call: LayerCall, units: int | None) -> list[LayerRow]:
        weights = [Weights(part.path, part.values, torch.tensor(2.0)) for part in weights_of(call.module)]
        return weight_rows(call, weights, Pen("jet"), units, dead=1)

    rows = layer_rows(calls, Pen("jet"), rows_of, dead={1: 3})
    assert [(row.index, row.units, row.dead_units) for row in rows if row.kind == "activations"] == [
        (0, 4, None),
        (1, 4, 3),
        (2, 2304, None),
        (3, 20, None),
        (4, 20, None),
        (5, 20, None),
    ]
    weights = [row for row in rows if row.kind == "weights"]
    assert [(row.index, row.units, row.dead_units) for row in weights] == [(0, 4, 1), (3, 20, 1), (4, 20, 1)]
    assert all(row.gradient_norm == 2 for row in rows if row.kind != "activations")


def test_rows_of_a_linear_layer():
    calls = calls_of(nn.Sequential(nn.Flatten(), nn.Linear(784, 50)))
    (row,) = activation_rows(calls[1], Pen("jet"))
    assert (row.name, row.kind, row.shape, row.parameters) == ("nn.Linear(784 → 50)", "activations", [50], None)
    assert (row.picture.width, row.picture.height) == (7, 8)
    weights, bias = weight_rows(calls[1], weights_of(calls[1].module), Pen("jet"))
    assert (weights.kind, weights.shape, weights.parameters) == ("weights", [50, 784], 39_250)
    assert weights.picture is None
    assert weights.not_drawn == "Weights of linear layers are not drawn."
    assert (bias.kind, bias.shape, bias.parameters) == ("bias", [50], None)
    assert bias.picture is not None


def test_filters_of_a_convolution_are_drawn():
    (call,) = calls_of(nn.Conv2d(1, 20, 5))
    weights, _ = weight_rows(call, weights_of(call.module), Pen("viridis"))
    assert (weights.picture.width, weights.picture.colormap) == (4 * 6 - 1, "viridis")


def test_in_place_layers_do_not_change_the_rows_before_them():
    calls = calls_of(nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.ReLU(inplace=True)))
    assert calls[1].outputs[0].min() < 0 <= calls[2].outputs[0].min()


def test_code_is_the_narrowest_layer_before_its_relu():
    seed = (nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 50), nn.ReLU(), nn.Linear(50, 300), nn.ReLU())
    assert code_of(Scale(1 / 256), *seed, nn.Linear(300, 784), nn.Unflatten(1, (1, 28, 28))) == 4


def test_output_is_not_the_code():
    assert code_of(nn.Flatten(), nn.Linear(784, 30), nn.Linear(30, 10), nn.LogSoftmax(1)) == 1
    assert code_of(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(1)) is None


def test_network_that_compresses_nothing_has_no_code():
    assert code_of(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)) is None
    assert code_of(nn.Flatten(), nn.Linear(784, 784)) is None


def test_code_of_convolutions():
    assert (
        code_of(nn.Conv2d(1, 4, 4, 4), nn.ReLU(), nn.Conv2d(4, 2, 7, 7), nn.ReLU(), nn.ConvTranspose2d(2, 1, 28)) == 2
    )
