"""Torch7's containers: who gets what, what becomes of it, and how Torch prints them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from jobs.networks.tracing import NETWORK_INPUT, traced
from jobs.torch7 import containers as torch7
from jobs.torch7.activations import LeakyReLU, ReLU, Tanh
from jobs.torch7.arithmetic import AddConstant, MulConstant, Square
from jobs.torch7.module import BadArgument
from jobs.torch7.shapes import Identity, Narrow, Select, View
from jobs.torch7.tables import CAddTable, JoinTable
from tests.unit.torch7.exactly import check, distinct, few, seeds


def row(*children):
    return torch7.Sequential(children)


def plane():
    view = View(1, 4)
    view.set_num_input_dims(1)
    return view


@few
@given(seed=seeds)
def test_a_sequence_runs_in_order_also_through_a_module_that_is_in_it_twice(seed):
    (input,) = distinct(seed, (2, 3))
    twice = MulConstant(-0.5)
    check(row(twice, ReLU(), twice, AddConstant(1)), input, lambda x: np.maximum(-0.5 * x, 0) * -0.5 + 1)


def test_an_empty_sequence_gives_its_input():
    (input,) = distinct(0, (2, 3))
    assert torch.equal(torch7.Sequential([])(input), input)


def test_children_are_numbered_from_1():
    network = row(nn.Linear(2, 3), ReLU())
    assert [name for name, _ in network.named_children()] == ["1", "2"]
    assert set(network.state_dict()) == {"1.weight", "1.bias"}


@few
@given(seed=seeds)
def test_concat_counts_its_dimension_with_the_batch(seed):
    (input,) = distinct(seed, (2, 3, 2))
    branches = [Square(), Narrow(2, 1, 2)]
    check(torch7.Concat(branches, 2), input, lambda x: np.concatenate([x * x, x[:, :2]], 1))
    check(torch7.Concat([Identity(), Identity()], 1), input, lambda x: np.concatenate([x, x]))


@few
@given(seed=seeds, sides=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_depth_concat_puts_smaller_pictures_into_the_middle_of_zeros(seed, sides):
    (input,) = distinct(seed, (2, 1, 6, 6))
    branches = [row(Narrow(3, 1, side), Narrow(4, 1, 7 - side)) for side in sides]
    high, wide = max(sides), max(7 - side for side in sides)

    def formula(x):
        result = np.zeros((2, len(sides), high, wide))
        for plane, side in enumerate(sides):
            # Torch rounds down: an odd zero is at the end.
            top, left = (high - side) // 2, (wide - (7 - side)) // 2
            result[:, plane, top : top + side, left : left + 7 - side] = x[:, 0, :side, : 7 - side]
        return result

    check(torch7.DepthConcat(branches, 2), input, formula)


@few
@given(seed=seeds)
def test_parallel_gives_each_module_its_slice_as_the_siamese_network_needs_it(seed):
    (input,) = distinct(seed, (3, 2, 4))
    module = torch7.Parallel([row(MulConstant(2), plane()), plane()], 2, 2)
    check(module, input, lambda x: np.stack([2 * x[:, 0], x[:, 1]], 1))


def test_parallel_needs_a_module_for_every_slice():
    with pytest.raises(ValueError, match=r"nn\.Parallel has 1 modules for the 3 slices of dimension 2"):
        torch7.Parallel([Identity()], 2, 1)(torch.zeros(2, 3))


@few
@given(seed=seeds)
def test_tables_of_modules(seed):
    first, second = distinct(seed, (2, 3), (2, 1))
    check(torch7.ConcatTable([Square(), Identity()]), first, lambda x: [x * x, x])
    check(torch7.ParallelTable([Square(), Tanh()]), [first, second], lambda both: [both[0] ** 2, np.tanh(both[1])])
    check(torch7.MapTable([Square()]), [first, second], lambda both: [part**2 for part in both])


def test_a_module_of_a_parallel_table_needs_its_entry():
    with pytest.raises(ValueError, match="takes a table of 2 or more, got one of 1"):
        torch7.ParallelTable([Identity(), Identity()])([torch.zeros(1)])


@few
@given(seed=seeds)
def test_a_map_has_one_module_with_one_set_of_weights(seed):
    parts = distinct(seed, (2, 3), (1, 3))
    linear = nn.Linear(3, 2)
    module = torch7.MapTable([linear])
    assert len(list(module.parameters())) == 2

    def formula(both):
        weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
        return [part @ weight.T + bias for part in both]

    check(module, parts, formula)


@few
@given(seed=seeds, further=st.lists(st.integers(1, 3), max_size=2))
def test_a_bottle_takes_further_dimensions_for_more_images(seed, further):
    (input,) = distinct(seed, (*further, 2, 3))
    linear = nn.Linear(3, 2)
    check(torch7.Bottle([linear]), input, lambda x: x @ linear.weight.detach().numpy().T + linear.bias.detach().numpy())
    check(torch7.Bottle([Select(2, 1)], 2, 1), input, lambda x: x[..., 0])


def test_a_bottle_says_when_its_module_gives_other_dimensions():
    with pytest.raises(ValueError, match="Expected: 2 but got 1"):
        torch7.Bottle([Select(2, 1)])(torch.zeros(4, 2, 3))


def test_decorators_are_the_module_in_them():
    (input,) = distinct(0, (2, 3))
    kinds = [
        (torch7.Decorator, ()),
        (torch7.Serial, ()),
        (torch7.GPU, (1,)),
        (torch7.DataParallelTable, (1, True, True)),
    ]
    for kind, arguments in kinds:
        check(kind([Square()], *arguments), input, lambda x: x * x)


def test_a_container_of_one_module_refuses_none_and_two():
    with pytest.raises(BadArgument, match=r"nn\.MapTable takes one module, got 2"):
        torch7.MapTable([Identity(), Identity()])
    with pytest.raises(BadArgument, match=r"nn\.DataParallelTable takes one module, got 0"):
        torch7.DataParallelTable([])


def test_dimensions_of_containers_are_whole_numbers():
    with pytest.raises(BadArgument, match=r"nn\.Concat got 1\.5 for dimension"):
        torch7.Concat([], 1.5)
    with pytest.raises(BadArgument, match=r"nn\.Parallel got nil for output_dimension"):
        torch7.Parallel([], 1)


def test_a_branch_around_a_layer_is_fed_by_what_is_before_and_not_by_its_neighbour():
    block = torch7.Sequential([torch7.ConcatTable([Identity(), nn.Linear(2, 2)]), CAddTable()])
    image = torch.zeros(1, 2, requires_grad=True).clone()
    with traced(block) as trace:
        trace.feed(image)
        block(image)
    assert [call.inputs for call in trace.calls] == [(NETWORK_INPUT,), (NETWORK_INPUT,), (0, 1)]


def test_containers_print_as_in_torch():
    branches = torch7.Concat([LeakyReLU(0.5), torch7.Sequential([Identity(), torch7.Concat([ReLU(), Tanh()], 2)])], 2)
    network = torch7.Sequential([View(1, 28, 28), branches, torch7.Sequential([])])
    assert network.described() == "\n".join(
        [
            "nn.Sequential {",
            "  [input -> (1) -> (2) -> (3) -> output]",
            "  (1): nn.View(1, 28, 28)",
            "  (2): nn.Concat {",
            "    input",
            "      |`-> (1): nn.LeakyReLU(0.5)",
            "       `-> (2): nn.Sequential {",
            "             [input -> (1) -> (2) -> output]",
            "             (1): nn.Identity",
            "             (2): nn.Concat {",
            "               input",
            "                 |`-> (1): nn.ReLU",
            "                  `-> (2): nn.Tanh",
            "                  ... -> output",
            "             }",
            "           }",
            "       ... -> output",
            "  }",
            "  (3): nn.Sequential {",
            "    [input -> output]",
            "  }",
            "}",
        ]
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [(torch7.ConcatTable, "nn.ConcatTable"), (torch7.ParallelTable, "nn.ParallelTable")],
)
def test_side_by_side_containers_print_a_tree(kind, name):
    inner = torch7.Sequential([JoinTable(2)])
    assert kind([inner, ReLU()]).described() == "\n".join(
        [
            f"{name} {{",
            "  input",
            "    |`-> (1): nn.Sequential {",
            "    |      [input -> (1) -> output]",
            "    |      (1): nn.JoinTable",
            "    |    }",
            "     `-> (2): nn.ReLU",
            "     ... -> output",
            "}",
        ]
    )


def test_containers_of_one_module_print_it():
    assert torch7.MapTable([ReLU()]).described() == "nn.MapTable {\n  nn.ReLU\n}"
    assert torch7.Bottle([ReLU()]).described() == "nn.Bottle @ nn.ReLU"
    assert torch7.GPU([ReLU()], 2).described() == "nn.GPU(2) @ nn.ReLU"
    assert torch7.DataParallelTable([ReLU()]).described() == "DataParallelTable: 1 x nn.ReLU"
