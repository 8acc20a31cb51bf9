"""All classes of nn that are here, by importing the files that define them, and what to say of those that are not."""

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from jobs.torch7.graph import GraphModule
from jobs.torch7.module import CLASSES

FAMILIES = (
    "activations",
    "arithmetic",
    "containers",
    "convolution",
    "criteria",
    "dropout",
    "linear",
    "lookup",
    "normalization",
    "padding",
    "plane_convolution",
    "pooling",
    "shapes",
    "sized_pooling",
    "tables",
    "temporal",
)
for _family in FAMILIES:
    import_module(f"jobs.torch7.{_family}")

# Classes of Torch7's nn, cudnn, dpnn and nnx that networks may name, and that are not here.
MISSING = frozenset(
    """
    ArgMax BatchCentering BinaryLogisticRegression BinaryStochastic ClassHierarchicalNLLCriterion ClearModules Clip
    Convert DontCast ErrorHandling FeatureLPPooling FireModule HardSigmoid Inception Kmeans Maxout ModuleCriterion
    NaN PCAColorTransform PixelSort SimpleColorTransform SpatialBinaryConvolution SpatialBinaryLogisticRegression
    SpatialFeatNormalization SpatialGlimpse SpatialRegionDropout SpatialUniformCrop TemporalGlimpse TotalDropout
    VariationalDropout WeightedMSECriterion
    """.split()  # noqa: SIM905  a list of names reads better so
)

# Why classes of Torch7 are not here, and what does instead.
REASONS: dict[str, str] = {
    "AbstractRecurrent AbstractSequencer BGRU BLSTM BiSequencer BiSequencerLM FastLSTM GRU Grid2DLSTM LSTM "
    "LookupTableMaskZero MaskZero MaskZeroCriterion Mufuru NormStabilizer RNN RNNReLU RNNTanh Recurrence Recurrent "
    "RecurrentAttention Recursor Repeater RepeaterCriterion SeqBRNN SeqGRU SeqLSTM SeqLSTMP SeqReverseSequence Sequencer "
    "SequencerCriterion TrimZero": "is recurrent, and the package rnn is not here; a network in Python has PyTorch's nn.LSTM, "
    "nn.GRU and nn.RNN",
    "IndexLinear SparseLinear": "takes lists of places and values, and a network here gets images; nn.Linear does the same "
    "with all values",
    "BinaryClassReward CategoricalEntropy Reinforce ReinforceBernoulli ReinforceCategorical ReinforceGamma "
    "ReinforceNormal VRClassReward": "learns from rewards, and a training here has targets alone",
    "Jacobian SparseJacobian StochasticGradient": "trains or tests a network by itself, which the form does here",
    "ModelParallel SharedParallelTable": "spreads a network over several GPUs, and one runs all of it here",
    "Bigrams Dictionary LSRC NCECriterion NCEModule SoftMaxForest SoftMaxTree TreeNLLCriterion": "is for very many words; "
    "nn.Linear with nn.LogSoftMax computes all classes",
    "WeightNorm": "wraps layers of any kind; nn.LinearWeightNorm is there for linear ones",
    "LinearNoBias": "is nn.Linear(inputs, outputs, false)",
    "InferReshape": "is nn.View with -1 for the side to find",
    "PrintSize Profile": "only prints; the job's page shows every layer's shape",
    "TanH": "is nn.Tanh",
    "UpSamplingNearest": "is nn.SpatialUpSamplingNearest",
}
REASON_OF = {name: reason for names, reason in REASONS.items() for name in names.split()}


def why_missing(name: str) -> str | None:
    """The sentence for a class of Torch7 that is not here. None for a name that Torch7 does not have either."""
    if name in REASON_OF:
        return f"nn.{name} is not here: it {REASON_OF[name]}"
    if name not in MISSING:
        return None
    near = difflib.get_close_matches(name, CLASSES, n=1, cutoff=0.0)[0]
    return f"nn.{name} is not supported yet; the nearest that is: nn.{near}"


def class_of(name: str) -> type[nn.Module]:
    """nn.X or a graph of nngraph, for a text of Python; AttributeError for what is not here."""
    if name == "gModule":
        return GraphModule
    if name not in CLASSES:
        near = difflib.get_close_matches(name, CLASSES, n=1, cutoff=0.0)[0]
        raise AttributeError(f"torch7 has no {name}; the nearest is torch7.{near}")
    kind: Any = CLASSES[name]
    return kind  # type: ignore[no-any-return]  # each is a module too


def graph_module(
    children: Sequence[nn.Module],
    edges: list[list[int]],
    inputs: list[int],
    outputs: list[int],
    name: str | None = None,
) -> nn.Module:
    """nngraph's gModule; all numbers are places in `children`, counted from 0."""
    graph = GraphModule(children, edges, inputs, outputs)
    graph.name = name
    return graph
