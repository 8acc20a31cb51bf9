"""Layers of chance: what they keep, and by how much values grow or shrink."""

import pytest
import torch
from torch import nn

from jobs.torch7 import dropout as torch7
from jobs.torch7.module import BadArgument

ONES = torch.ones(100, 100)


def share_kept(output):
    return (output != 0).double().mean().item()


def test_dropout_makes_what_it_keeps_larger():
    module = torch7.Dropout(0.2)
    output = module(ONES)
    assert output.unique().tolist() == pytest.approx([0, 1.25])
    assert share_kept(output) == pytest.approx(0.8, abs=0.02)
    assert torch.equal(module.eval()(ONES), ONES)


def test_dropout_draws_as_its_python_twin():
    torch.manual_seed(1)
    expected = nn.Dropout(0.3)(ONES)
    torch.manual_seed(1)
    assert torch.equal(torch7.Dropout(0.3)(ONES), expected)


def test_the_first_version_makes_values_smaller_in_tests():
    module = torch7.Dropout(0.2, True)
    output = module(ONES)
    assert output.unique().tolist() == [0, 1]
    assert share_kept(output) == pytest.approx(0.8, abs=0.02)
    assert torch.equal(module.eval()(ONES), ONES * 0.8)


def test_dropout_in_place_leaves_its_input_to_its_gradient():
    input = torch.ones(5, requires_grad=True)
    module = torch7.Dropout(0.5, False, True)
    output = module(input)
    output.sum().backward()
    assert torch.equal(input.grad, output)
    assert module.in_place


def test_chance_may_go_on_in_tests():
    assert share_kept(torch7.Dropout(0.5, False, False, True).eval()(ONES)) < 0.6
    assert share_kept(torch7.SpatialDropout(0.5, True).eval()(torch.ones(99, 9, 2, 2))) < 0.6


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (torch7.SpatialDropout(0.25), (50, 80, 2, 3)),
        (torch7.SpatialDropout(0.25), (4000, 2, 3)),
        (torch7.VolumetricDropout(0.25), (50, 80, 2, 1, 2)),
        (torch7.VolumetricDropout(0.25), (4000, 2, 1, 2)),
    ],
)
def test_planes_are_dropped_whole_and_never_grow(module, shape):
    # PyTorch's Dropout2d makes what it keeps larger, and leaves values as they are in tests.
    planes = torch.ones(shape)
    output = module.train()(planes)
    sides = 3 if isinstance(module, torch7.VolumetricDropout) else 2
    kept = output.flatten(-sides)
    assert (kept == kept[..., :1]).all()
    assert output.unique().tolist() == [0, 1]
    assert share_kept(output) == pytest.approx(0.75, abs=0.03)
    assert torch.equal(module.eval()(planes), planes * 0.75)


def test_noise_has_its_mean_and_deviation_and_is_its_mean_in_tests():
    module = torch7.WhiteNoise(3, 0.5)
    noise = module(ONES) - 1
    assert noise.mean().item() == pytest.approx(3, abs=0.02)
    assert noise.std().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(module.eval()(ONES), ONES + 3)


def test_the_share_can_be_set():
    module = torch7.Dropout()
    assert module.described() == "nn.Dropout(0.500000)"
    assert module.set_share(0.2) is None
    assert module.described() == "nn.Dropout(0.200000)"
    assert torch7.SpatialDropout(0.1).described() == "nn.SpatialDropout(0.100000)"
    assert torch7.WhiteNoise().described() == "nn.WhiteNoise mean: 0.000000, std: 0.100000"


@pytest.mark.parametrize("p", [1, -0.1])
def test_a_share_that_is_none_is_refused(p):
    with pytest.raises(BadArgument, match=rf"nn.Dropout got {p} for p; it takes 0 ≤ p < 1"):
        torch7.Dropout(p)
