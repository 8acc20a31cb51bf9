"""Layers whose input are indices from 1 on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from jobs.torch7 import lookup as torch7
from tests.unit.torch7.exactly import few, seeds

shapes = st.sampled_from([(1,), (4,), (2, 3)])


@few
@given(seed=seeds, shape=shapes, whole=st.booleans())
def test_a_table_gives_the_vectors_of_its_indices_from_1_on(seed, shape, whole):
    module = torch7.LookupTable(5, 3).double()
    indices = np.random.default_rng(seed).integers(1, 6, shape)
    # Images of indices are floats.
    input = torch.from_numpy(indices if whole else indices.astype(np.float32))
    output = module(input)
    assert np.array_equal(output.detach().numpy(), module.weight.detach().numpy()[indices - 1])
    output.sum().backward()
    assert module.weight.grad.tolist() == [[float((indices == index).sum())] * 3 for index in range(1, 6)]


def test_first_vectors_are_normal_and_those_of_a_python_twin():
    torch.manual_seed(1)
    twin = nn.Embedding(1000, 30)
    torch.manual_seed(1)
    module = torch7.LookupTable(1000, 30)
    assert torch.equal(module.weight, twin.weight)
    module.reset(0.1)
    assert module.weight.std().item() == pytest.approx(0.1, rel=0.05)


def test_the_padding_keeps_its_vector_but_is_not_trained():
    module = torch7.LookupTable(3, 2, 2)
    # PyTorch begins with zeros there.
    assert (module.weight[1] != 0).all()
    module(torch.tensor([1, 2, 2, 3])).sum().backward()
    assert module.weight.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_vectors_that_are_used_are_shortened():
    module = torch7.LookupTable(3, 2, 0, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]]))
    output = module(torch.tensor([1, 2, 1]))
    assert torch.allclose(output, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]]))
    assert torch.allclose(module.weight, torch.tensor([[0.6, 0.8], [0.3, 0.4], [6, 8]]))
    output.sum().backward()
    assert module.weight.grad.tolist() == [[2, 2], [1, 1], [0, 0]]
    module.set_norm_type(1)
    assert module(torch.tensor([1])).abs().sum().item() == pytest.approx(1)


@few
@given(seed=seeds, shape=st.sampled_from([(), (3,), (2, 1, 4)]), whole=st.booleans())
def test_one_hot_has_a_further_dimension(seed, shape, whole):
    indices = np.random.default_rng(seed).integers(1, 6, shape)
    input = torch.tensor(indices, dtype=torch.long if whole else torch.float64)
    output = torch7.OneHot(5)(input)
    assert output.dtype == (torch.float32 if whole else torch.float64)
    assert np.array_equal(output.numpy(), np.eye(5)[indices - 1])


@pytest.mark.parametrize("index", [0, 6])
@pytest.mark.parametrize("module", [torch7.LookupTable(5, 2), torch7.LookupTable(5, 2, 0, 1), torch7.OneHot(5)])
def test_an_index_that_is_none_is_said_with_the_range(module, index):
    with pytest.raises(ValueError, match=r"takes indices from 1 to 5; it got values from"):
        module(torch.tensor([3, index]))


def test_a_table_takes_no_images():
    with pytest.raises(ValueError, match=r"nn.LookupTable takes an input of 1 or 2 dimensions; it got 4: 2x1x3x3"):
        torch7.LookupTable(5, 2)(torch.ones(2, 1, 3, 3))
