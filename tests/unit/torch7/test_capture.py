"""Steps with Torch7's modules may be captured as CUDA graphs: nothing comes back from the device while they run."""

import pytest
import torch
from torch import nn

from jobs.torch7 import activations, arithmetic, containers, shapes, tables
from jobs.torch7.graph import GraphModule
from jobs.training.step import OperationRecorder

IMAGES = torch.rand(2, 3, 4, 4)
ROWS = torch.rand(2, 6)
PAIR = [torch.rand(2, 6), torch.rand(2, 6)]
MATRICES = [torch.rand(2, 3, 3), torch.rand(2, 3, 3)]


@pytest.mark.parametrize(
    ("module", "input"),
    [
        (activations.RReLU(), IMAGES),
        (activations.PReLU(3), IMAGES),
        (activations.CReLU(3), IMAGES),
        (activations.Abs(), IMAGES),
        (activations.LogSoftMax(), IMAGES),
        (activations.GatedLinearUnit(), ROWS),
        (activations.GradientReversal(), ROWS),
        (activations.L1Penalty(0.1, True), ROWS),
        (arithmetic.MulConstant(0.5), IMAGES),
        (arithmetic.Sqrt(), IMAGES),
        (arithmetic.Sum(2, None, True), IMAGES),
        (arithmetic.Max(1, 3), IMAGES),
        (shapes.View(-1, 16), IMAGES),
        (shapes.Reshape(3, 16), IMAGES),
        (shapes.Squeeze(None, 3), IMAGES),
        (shapes.Narrow(2, 1, -2), IMAGES),
        (shapes.Select(2, -1), IMAGES),
        (shapes.Index(2), [IMAGES, torch.tensor([3, 1])]),
        (shapes.Replicate(2), IMAGES),
        (shapes.Constant(1, 3), IMAGES),
        (tables.JoinTable(2), PAIR),
        (tables.SplitTable(2), IMAGES),
        (tables.CAddTable(), PAIR),
        (tables.CMaxTable(), PAIR),
        (tables.MixtureTable(), [torch.rand(2, 3), torch.rand(2, 3, 5)]),
        (tables.MM(True), MATRICES),
        (tables.CosineDistance(), PAIR),
        (tables.PairwiseDistance(), PAIR),
        (containers.Concat([activations.ReLU(), activations.Tanh()], 2), IMAGES),
        (containers.DepthConcat([activations.ReLU(), shapes.Narrow(3, 1, 3)], 2), IMAGES),
        (containers.Parallel([shapes.Identity()] * 3, 2, 1), IMAGES),
        (containers.Bottle([nn.Linear(4, 2)]), IMAGES),
        (GraphModule([activations.ReLU(), activations.Tanh(), tables.CAddTable()], [[], [0], [0, 1]], [0], [2]), ROWS),
    ],
    ids=lambda part: getattr(part, "torch_name", ""),
)
def test_no_value_comes_back_from_the_device(module, input):
    with OperationRecorder(torch.device("cpu")) as recorder:
        module(input)
    assert recorder.operations
    assert not recorder.reads_values


def test_a_mask_reads_values_because_they_say_how_many_there_are():
    with OperationRecorder(torch.device("cpu")) as recorder:
        shapes.MaskedSelect()([ROWS, ROWS > 0.5])
    assert recorder.reads_values
