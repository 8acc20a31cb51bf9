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

# Classes of Torch7's nn, dpnn and nnx that networks may name.
NAMES_OF_TORCH = frozenset(
    """
    Abs AbsCriterion Add AddConstant BCECriterion BatchNormalization Bilinear BinaryStochastic Bottle CAdd
    CAddTable CAddTensorTable CAveTable CDivTable CMaxTable CMinTable CMul CMulTable CReLU CSubTable Clamp
    ClassHierarchicalNLLCriterion ClassNLLCriterion ClassSimplexCriterion ClearModules Collapse Concat
    ConcatTable Constant Container Contiguous Convert Copy Cosine CosineDistance CosineEmbeddingCriterion
    CrossEntropyCriterion Decorator DepthConcat DistKLDivCriterion DistanceRatioCriterion DontCast DotProduct
    Dropout ELU ErrorHandling Euclidean Exp FlattenTable GPU GRU GatedLinearUnit GradientReversal HardShrink
    HardSigmoid HardTanh HingeEmbeddingCriterion Identity Inception Index IndexLinear InferReshape Jacobian
    Kmeans L1Cost L1HingeEmbeddingCriterion L1Penalty LSTM LayerNormalization LeakyReLU Linear LinearWeightNorm
    Log LogSigmoid LogSoftMax LookupTable MM MSECriterion MV MapTable MarginCriterion MarginRankingCriterion
    MaskZero MaskedSelect Max Maxout Mean Min MixtureTable ModelParallel Module ModuleCriterion Mul MulConstant
    MultiCriterion MultiLabelMarginCriterion MultiLabelSoftMarginCriterion MultiMarginCriterion NaN Narrow
    NarrowTable Normalize OneHot PReLU Padding PairwiseDistance Parallel ParallelCriterion ParallelTable
    PartialLinear PixelShuffle PixelSort Power PrintSize Profile RReLU ReLU ReLU6 Recurrent Replicate Reshape
    ReverseTable Select SelectTable Sequencer Sequential Serial SharedParallelTable Sigmoid SmoothL1Criterion
    SoftMarginCriterion SoftMax SoftMin SoftPlus SoftShrink SoftSign SparseJacobian SparseLinear
    SpatialAdaptiveAveragePooling SpatialAdaptiveMaxPooling SpatialAutoCropMSECriterion SpatialAveragePooling
    SpatialBatchNormalization SpatialBinaryConvolution SpatialBinaryLogisticRegression SpatialClassNLLCriterion
    SpatialContrastiveNormalization SpatialConvolution SpatialConvolutionLocal SpatialConvolutionMM
    SpatialConvolutionMap SpatialCrossMapLRN SpatialDepthWiseConvolution SpatialDilatedConvolution
    SpatialDilatedMaxPooling SpatialDivisiveNormalization SpatialDropout SpatialFractionalMaxPooling
    SpatialFullConvolution SpatialFullConvolutionMap SpatialGlimpse SpatialLPPooling SpatialLogSoftMax
    SpatialMaxPooling SpatialMaxUnpooling SpatialReflectionPadding SpatialReplicationPadding SpatialSoftMax
    SpatialSubSampling SpatialSubtractiveNormalization SpatialUniformCrop SpatialUpSamplingBilinear
    SpatialUpSamplingNearest SpatialZeroPadding SplitTable Sqrt Square Squeeze StochasticGradient Sum TanH Tanh
    TanhShrink TemporalConvolution TemporalDynamicKMaxPooling TemporalMaxPooling TemporalRowConvolution
    TemporalSubSampling Threshold TotalDropout Transpose Unsqueeze UpSamplingNearest VariationalDropout View
    VolumetricAveragePooling VolumetricBatchNormalization VolumetricConvolution VolumetricDilatedConvolution
    VolumetricDilatedMaxPooling VolumetricDropout VolumetricFractionalMaxPooling VolumetricFullConvolution
    VolumetricMaxPooling VolumetricMaxUnpooling VolumetricReplicationPadding WeightNorm WeightedEuclidean
    WeightedMSECriterion WhiteNoise ZeroGrad ZipTable ZipTableOneToMany
    """.split()  # noqa: SIM905  a list of two hundred names reads better so
)


def why_missing(name: str) -> str | None:
    """The sentence for a class of Torch7 that is not here. None for a name that Torch7 does not have either."""
    if name not in NAMES_OF_TORCH or name in ("Module", "Container", "Criterion"):
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
