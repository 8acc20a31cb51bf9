"""Layers over sequences of frames × features."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.torch7 import temporal as torch7
from tests.unit.torch7.exactly import check, distinct, few, seeds
from tests.unit.torch7.windows import numbers

side, step = st.integers(1, 3), st.integers(1, 2)
batches = st.sampled_from([(), (1,), (2,)])


def frames_seen(x, width, step):
    """Places × frames × features."""
    starts = range(0, x.shape[-2] - width + 1, step)
    return np.stack([x[..., start : start + width, :] for start in starts], -3)


@few
@given(seed=seeds, batch=batches, inputs=side, outputs=side, width=side, step=step)
def test_a_temporal_convolution_takes_frames_before_features(seed, batch, inputs, outputs, width, step):
    module = torch7.TemporalConvolution(inputs, outputs, width, step)
    assert module.weight.shape == (outputs, width * inputs)
    (input,) = distinct(seed, (*batch, width + 2, inputs))

    def formula(x):
        seen = frames_seen(x, width, step)
        # Frame by frame, as Torch lays the weights out.
        return seen.reshape(*seen.shape[:-2], -1) @ numbers(module.weight).T + numbers(module.bias)

    check(module, input, formula)


@few
@given(seed=seeds, batch=batches, features=side, width=side, step=step, features_first=st.booleans())
def test_a_row_convolution_treats_each_feature_by_itself(seed, batch, features, width, step, features_first):
    module = torch7.TemporalRowConvolution(features, width, step, features_first)
    (input,) = distinct(seed, (*batch, features, width + 2) if features_first else (*batch, width + 2, features))

    def formula(x):
        seen = frames_seen(np.swapaxes(x, -1, -2) if features_first else x, width, step)
        output = np.einsum("...pwf,fw->...pf", seen, numbers(module.weight)[:, 0]) + numbers(module.bias)
        return np.swapaxes(output, -1, -2) if features_first else output

    check(module, input, formula)


@few
@given(seed=seeds, batch=batches, features=side, width=side, step=step)
def test_frames_are_summed_and_pooled_feature_by_feature(seed, batch, features, width, step):
    (input,) = distinct(seed, (*batch, width + 2, features))
    summing, pooling = torch7.TemporalSubSampling(features, width, step), torch7.TemporalMaxPooling(width, step)

    def summed(x):
        return frames_seen(x, width, step).sum(-2) * numbers(summing.weight) + numbers(summing.bias)

    check(summing, input, summed)
    check(pooling, input, lambda x: frames_seen(x, width, step).max(-2))


def test_pooling_steps_by_its_window_and_the_others_by_one():
    assert torch7.TemporalMaxPooling(3)(torch.zeros(2, 9, 4)).shape == (2, 3, 4)
    assert torch7.TemporalConvolution(4, 5, 3)(torch.zeros(2, 9, 4)).shape == (2, 7, 5)
    assert torch7.TemporalSubSampling(4, 3)(torch.zeros(2, 9, 4)).shape == (2, 7, 4)


@few
@given(seed=seeds, batch=batches, frames=st.integers(2, 5), least=step)
def test_the_highest_values_stay_in_their_order(seed, batch, frames, least):
    module = torch7.TemporalDynamicKMaxPooling(least, 0.5)
    (input,) = distinct(seed, (*batch, frames, 2))
    kept = max(least, -(-frames // 2))

    def formula(x):
        order = np.sort(np.argsort(-x, -2)[..., :kept, :], -2)
        return np.take_along_axis(x, order, -2)

    check(module, input, formula)


@pytest.mark.parametrize(
    ("module", "shape", "sentence"),
    [
        (
            torch7.TemporalConvolution(4, 2, 3),
            (2, 4, 9),
            "nn.TemporalConvolution takes frames of 4 values; it got 2x4x9",
        ),
        (
            torch7.TemporalConvolution(4, 2, 3),
            (2, 2, 4),
            "nn.TemporalConvolution takes sequences of at least 3 frames; it got 2x2x4",
        ),
        (
            torch7.TemporalMaxPooling(3),
            (2, 1, 9, 4),
            "nn.TemporalMaxPooling takes an input of 2 or 3 dimensions; it got 4: 2x1x9x4",
        ),
        (
            torch7.TemporalDynamicKMaxPooling(3),
            (2, 4),
            "nn.TemporalDynamicKMaxPooling takes sequences of at least 3 frames; it got 2x4",
        ),
    ],
)
def test_a_layer_says_what_sequences_it_takes(module, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        module(torch.zeros(shape))


def test_layers_are_printed_as_torch_prints_them():
    assert torch7.TemporalRowConvolution(4, 3).described() == "nn.TemporalRowConvolution(4, 3)"
    stepping = torch7.TemporalRowConvolution(4, 3, 2)
    stepping.remove_bias()
    assert stepping.described() == "nn.TemporalRowConvolution(4, 3, 2) without bias"
    assert torch7.TemporalConvolution(4, 2, 3).described() == "nn.TemporalConvolution"
