"""Units that do the same for every image, and the layers that they belong to."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jobs.networks.tracing import traced
from jobs.training.data import Preparation, ResidentImages
from jobs.training.probes import Probes, UnitRanges, activations, dead_units, is_constant


def look(model: nn.Module, shape=(1, 8, 8), count=40, at_once=64):
    """The dead units of a model on random images, and what was measured."""
    images = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    prepare = Preparation(mean=torch.full((1, 1, 1), 128.0))
    probes = Probes(ResidentImages(images, torch.zeros(count)), prepare, at_once)
    model.eval()
    with torch.no_grad(), traced(model) as trace:
        model(prepare(images[:1]))
    ranges: UnitRanges = probes.measure(model, trace.calls)
    return dead_units(ranges, trace.calls), ranges


def with_bias(layer: nn.Module, *values: float) -> nn.Module:
    """The layer with the first units pushed far off."""
    with torch.no_grad():
        layer.bias[: len(values)] = torch.tensor(values)
    return layer


def small(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        layer.weight /= 1e6
    return layer


@pytest.mark.parametrize("at_once", [1, 16, 64])
def test_silent_units_of_a_relu_are_counted_for_it_and_for_the_layer_before(at_once):
    linear = with_bias(nn.Linear(64, 10), -1e6, -1e6, 1e6)
    (found,), _ = look(nn.Sequential(nn.Flatten(), linear, nn.ReLU(), nn.Linear(10, 3)), at_once=at_once)
    assert (found.call, found.units, found.dead, found.silent, found.fed_by) == (2, 10, 2, 2, (1,))


def test_a_saturated_unit_is_dead_but_not_silent():
    linear = with_bias(small(nn.Linear(64, 10)), 50.0, -50.0)
    (found,), _ = look(nn.Sequential(nn.Flatten(), linear, nn.Tanh(), nn.Linear(10, 3)))
    assert (found.dead, found.silent) == (2, 0)


def test_a_channel_is_the_unit_of_a_convolution_and_a_norm_passes_it_on():
    convolution = nn.Conv2d(1, 6, 3, bias=False)
    norm = with_bias(nn.BatchNorm2d(6), *[-1e6] * 4)
    (found,), _ = look(nn.Sequential(convolution, norm, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(216, 3)))
    assert (found.units, found.dead, found.fed_by) == (6, 4, (1, 0))


def test_a_shared_relu_is_measured_at_each_of_its_calls():
    relu = nn.ReLU()
    one_never_fires = with_bias(nn.Linear(10, 10), -1e6, *[1e6] * 9)
    layers = nn.Linear(64, 10), relu, one_never_fires, relu, nn.Linear(10, 3)
    found, _ = look(nn.Sequential(nn.Flatten(), *layers))
    assert [(each.call, each.dead, each.fed_by) for each in found] == [(2, 0, (1,)), (4, 1, (3,))]


def test_dropout_input_and_output_are_not_counted():
    inside = nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.9), nn.LeakyReLU()
    found, _ = look(nn.Sequential(nn.ReLU(), *inside, with_bias(nn.Linear(10, 4), -1e6), nn.ReLU()))
    assert [(each.call, each.dead) for each in found] == [(4, 0)]


def test_pixels_before_the_first_weights_are_no_units():
    class Pixels(nn.Module):
        def forward(self, input: Tensor) -> Tensor:
            return F.relu(-1e6 + input)

    layers = nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    assert look(nn.Sequential(Pixels(), *layers))[0] == []
    assert look(OfFunctions(F.relu, nn.Flatten(), nn.Linear(64, 3)))[0] == []


@pytest.mark.parametrize("activation", [nn.ReLU(), F.relu])
def test_a_unit_that_fires_for_one_image_of_all_is_alive(activation):
    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    images[0] = torch.arange(64).reshape(1, 8, 8)
    model = OfFunctions(activation, nn.Linear(8, 10), nn.Linear(80, 3)).eval()
    with torch.no_grad(), traced(model) as trace:
        model(images[:1].float())
    # The second and the third pass are of nothing but zeros.
    ranges = Probes(ResidentImages(images, torch.zeros(40)), Preparation(), 16).measure(model, trace.calls)
    (found,) = dead_units(ranges, trace.calls)
    assert found.dead < found.units


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.last = nn.Conv2d(4, 1, 8)

    def forward(self, input: Tensor) -> Tensor:
        first = self.first(input)
        return self.last(self.relu(self.second(first) + first))


def test_units_of_a_sum_belong_to_no_single_layer():
    (found,), _ = look(Residual())
    assert (found.units, found.fed_by) == (4, ())


def relu_of_torch(values: Tensor) -> Tensor:
    return torch.relu(values)


def relu_in_place(values: Tensor) -> Tensor:
    return values.relu_()


class OfFunctions(nn.Module):
    """The layers one after another, with this activation after each but the last."""

    def __init__(self, activation: Callable[[Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        *inner, last = self.layers
        for layer in inner:
            input = self.activation(layer(input))
        return last(input.flatten(1))


@pytest.mark.parametrize("relu", [F.relu, relu_of_torch, relu_in_place, Tensor.relu, F.leaky_relu, F.silu])
@pytest.mark.parametrize("at_once", [16, 64])
def test_an_activation_that_is_a_function_is_seen_on_the_layer_before(relu, at_once):
    linear = with_bias(nn.Linear(8, 10), -1e9, -1e9, 0.0)
    with torch.no_grad():
        linear.weight[:2] = 0
    (found,), _ = look(OfFunctions(relu, linear, nn.Linear(80, 3)), at_once=at_once)
    assert (found.call, found.units, found.dead, found.fed_by) == (0, 10, 2, (0,))


def test_a_function_behind_a_norm_and_a_module_are_both_seen_once():
    convolution, norm = nn.Conv2d(1, 6, 3, bias=False), with_bias(nn.BatchNorm2d(6), *[-1e6] * 4)
    first = nn.Sequential(convolution, norm)
    second = nn.Sequential(with_bias(nn.Conv2d(6, 6, 3, padding=1), -1e6), nn.ReLU())
    found, _ = look(OfFunctions(F.relu, first, second, nn.Linear(216, 3)))
    seen = [(each.call, each.units, each.dead, each.silent, each.fed_by) for each in found]
    assert seen == [(1, 6, 4, 4, (1, 0)), (3, 6, 1, 1, (2,))]


def test_a_function_on_the_output_or_on_a_sum_is_of_no_layer():
    to_output = nn.Sequential(nn.Flatten(), with_bias(nn.Linear(64, 10), -1e6))
    assert look(OfFunctions(F.relu, to_output, nn.Identity()))[0] == []
    assert look(OfFunctions(lambda values: F.relu(values + 1), nn.Linear(8, 10), nn.Linear(80, 3)))[0] == []


def test_functions_are_heard_of_in_the_probes_pass_alone():
    model = OfFunctions(F.relu, nn.Linear(8, 10), nn.Linear(80, 3))
    look(model)
    assert torch.overrides._get_current_function_mode_stack() == []
    assert all(not layer._forward_hooks and not layer._forward_pre_hooks for layer in model.modules())


def test_an_output_that_never_changes_is_seen():
    to_image = nn.Unflatten(1, (1, 8, 8))
    dead = with_bias(nn.Linear(64, 5), *[-1e6] * 5)
    assert is_constant(look(nn.Sequential(nn.Flatten(), dead, nn.ReLU(), nn.Linear(5, 64), to_image))[1].output)
    assert not is_constant(look(nn.Sequential(nn.Flatten(), nn.Linear(64, 64), to_image))[1].output)


def test_images_that_are_all_the_same_prove_nothing():
    images = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
    probes = Probes(ResidentImages(images, torch.zeros(20)), Preparation(), 64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 64))
    assert probes.measure(model, []) == UnitRanges()


def test_softmax_and_attention_do_not_fire():
    with torch.no_grad(), traced(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1), nn.GELU(), nn.Linear(3, 2))) as trace:
        next(iter(trace.paths))(torch.rand(1, 4))
    assert [type(call.module) for call in activations(trace.calls)] == [nn.GELU]
