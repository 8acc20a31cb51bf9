"""nngraph's gModule: a node gets what its parents give, and the graph gives what its outputs give."""

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

from jobs.torch7.activations import Tanh
from jobs.torch7.arithmetic import MulConstant, Square
from jobs.torch7.graph import GraphModule
from jobs.torch7.shapes import Identity
from jobs.torch7.tables import CAddTable, CSubTable, SelectTable
from tests.unit.torch7.exactly import check, distinct, few, seeds


@few
@given(seed=seeds)
def test_a_node_with_several_parents_gets_a_table_in_their_order(seed):
    (input,) = distinct(seed, (2, 3))
    # (x² - 3x), where the second parent comes first in the order of the nodes.
    graph = GraphModule([Identity(), MulConstant(3), Square(), CSubTable()], [[], [0], [0], [2, 1]], [0], [3])
    check(graph, input, lambda x: x * x - 3 * x)


@few
@given(seed=seeds)
def test_several_inputs_and_outputs_are_tables(seed):
    first, second = distinct(seed, (2, 3), (2, 3))
    graph = GraphModule([Tanh(), Square(), CAddTable()], [[], [], [0, 1]], [1, 0], [2, 0])
    check(graph, [first, second], lambda both: [np.tanh(both[1]) + both[0] ** 2, np.tanh(both[1])])


@few
@given(seed=seeds)
def test_one_parent_that_gives_a_table_is_the_table(seed):
    parts = distinct(seed, (2,), (2,))
    graph = GraphModule([Identity(), SelectTable(2), SelectTable(1)], [[], [0], [0]], [0], [1, 2])
    check(graph, parts, lambda both: both[::-1])


def test_a_module_may_be_at_two_nodes():
    linear = nn.Linear(2, 2, bias=False)
    graph = GraphModule([linear, linear], [[], [0]], [0], [1])
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    assert graph(torch.tensor([[1.0, 3.0]])).tolist() == [[2, 6]]
    assert len(list(graph.parameters())) == 1


@pytest.mark.parametrize("input", [torch.zeros(1), [torch.zeros(1)] * 3])
def test_the_number_of_inputs_must_be_the_graphs(input):
    graph = GraphModule([Identity(), Identity(), CAddTable()], [[], [], [0, 1]], [0, 1], [2])
    with pytest.raises(ValueError, match="Number of inputs do not match my graph: expecting 2 inputs"):
        graph(input)


def test_a_node_that_nothing_feeds_is_named():
    graph = GraphModule([Identity(), Identity(), CAddTable()], [[], [], [0, 1]], [0], [2])
    with pytest.raises(ValueError, match="node 2 of the graph has no input"):
        graph(torch.zeros(1))


def test_a_node_before_its_parents_is_refused():
    with pytest.raises(ValueError, match="node 1 of the graph comes before one that feeds it"):
        GraphModule([Identity(), Identity()], [[1], []], [1], [0])


def test_a_graph_prints_as_in_torch():
    assert GraphModule([Identity()], [[]], [0], [0]).described() == "nn.gModule"
