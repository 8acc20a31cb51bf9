"""A training step is recorded once and played again: no layer may look at values while it runs."""

import pytest
import torch

from jobs.torch7 import convolution, dropout, linear, lookup, normalization, padding, pooling, temporal
from jobs.torch7 import plane_convolution as planes
from jobs.torch7 import sized_pooling as sized
from jobs.torch7.module import CLASSES

IMAGES, VOLUMES, FRAMES, VECTORS = (2, 4, 9, 8), (2, 4, 5, 6, 6), (2, 9, 4), (2, 4)
LAYERS = [
    (linear.Linear(4, 3), VECTORS),
    (linear.PartialLinear(4, 3), VECTORS),
    (linear.LinearWeightNorm(4, 3), VECTORS),
    (linear.Add(4), VECTORS),
    (linear.CAdd(4), VECTORS),
    (linear.Mul(), VECTORS),
    (linear.CMul(4), VECTORS),
    (linear.Cosine(4, 3), VECTORS),
    (linear.Euclidean(4, 3), VECTORS),
    (linear.WeightedEuclidean(4, 3), VECTORS),
    (convolution.SpatialConvolution(4, 3, 3, 3), IMAGES),
    (convolution.SpatialConvolutionMM(4, 3, 3, 3), IMAGES),
    (convolution.SpatialDilatedConvolution(4, 3, 3, 3), IMAGES),
    (convolution.SpatialFullConvolution(4, 3, 3, 3, 2, 2), IMAGES),
    (convolution.VolumetricConvolution(4, 3, 2, 3, 3), VOLUMES),
    (convolution.VolumetricDilatedConvolution(4, 3, 2, 3, 3), VOLUMES),
    (convolution.VolumetricFullConvolution(4, 3, 2, 3, 3), VOLUMES),
    (planes.SpatialDepthWiseConvolution(4, 2, 3, 3), IMAGES),
    (planes.SpatialConvolutionLocal(4, 2, 8, 9, 3, 3), IMAGES),
    (planes.SpatialConvolutionMap(torch.tensor([[1, 1], [4, 2]]), 3, 3), IMAGES),
    (planes.SpatialFullConvolutionMap(torch.tensor([[1, 1], [4, 2]]), 3, 3), IMAGES),
    (planes.SpatialSubSampling(4, 2, 2), IMAGES),
    (temporal.TemporalConvolution(4, 3, 3), FRAMES),
    (temporal.TemporalRowConvolution(4, 3), FRAMES),
    (temporal.TemporalSubSampling(4, 3), FRAMES),
    (temporal.TemporalMaxPooling(3), FRAMES),
    (temporal.TemporalDynamicKMaxPooling(2, 0.5), FRAMES),
    (pooling.SpatialMaxPooling(2, 2), IMAGES),
    (pooling.SpatialDilatedMaxPooling(2, 2), IMAGES),
    (pooling.SpatialAveragePooling(2, 2), IMAGES),
    (pooling.SpatialLPPooling(4, 2, 2, 2), IMAGES),
    (pooling.VolumetricMaxPooling(2, 2, 2), VOLUMES),
    (pooling.VolumetricDilatedMaxPooling(2, 2, 2), VOLUMES),
    (pooling.VolumetricAveragePooling(2, 2, 2), VOLUMES),
    (sized.SpatialAdaptiveMaxPooling(3, 3), IMAGES),
    (sized.SpatialAdaptiveAveragePooling(3, 3), IMAGES),
    (sized.SpatialFractionalMaxPooling(2, 2, 3, 3), IMAGES),
    (sized.VolumetricFractionalMaxPooling(2, 2, 2, 3, 3, 2), VOLUMES),
    (normalization.BatchNormalization(4), VECTORS),
    (normalization.SpatialBatchNormalization(4), IMAGES),
    (normalization.VolumetricBatchNormalization(4), VOLUMES),
    (normalization.SpatialCrossMapLRN(3), IMAGES),
    (normalization.SpatialSubtractiveNormalization(4, torch.ones(3)), IMAGES),
    (normalization.SpatialDivisiveNormalization(4, torch.ones(3)), IMAGES),
    (normalization.SpatialContrastiveNormalization(4, torch.ones(3)), IMAGES),
    (normalization.Normalize(2), VECTORS),
    (normalization.LayerNormalization(4), VECTORS),
    (padding.SpatialZeroPadding(1, -1), IMAGES),
    (padding.SpatialReflectionPadding(1), IMAGES),
    (padding.SpatialReplicationPadding(1), IMAGES),
    (padding.VolumetricReplicationPadding(1), VOLUMES),
    (padding.Padding(1, 2, 3), IMAGES),
    (padding.SpatialUpSamplingNearest(2), IMAGES),
    (padding.VolumetricUpSamplingNearest(2), VOLUMES),
    (padding.SpatialUpSamplingBilinear(2), IMAGES),
    (padding.PixelShuffle(2), IMAGES),
    (lookup.LookupTable(5, 3, 1, 1), VECTORS),
    (lookup.OneHot(5), VECTORS),
    (dropout.Dropout(0.5, True), VECTORS),
    (dropout.SpatialDropout(), IMAGES),
    (dropout.VolumetricDropout(), VOLUMES),
    (dropout.WhiteNoise(), VECTORS),
]
# Their input is a table, or what another layer saw.
TRIED_ELSEWHERE = {"nn.Bilinear", "nn.SpatialMaxUnpooling", "nn.VolumetricMaxUnpooling"}


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda part: getattr(part, "torch_name", ""))
def test_no_layer_looks_at_values_while_it_runs(layer, shape):
    # Tensors on this device have a shape and no values.
    output = layer.to("meta")(torch.empty(shape, device="meta"))
    assert output.is_meta
    assert output.shape[0] == shape[0]


def test_every_layer_of_these_families_is_tried():
    families = {part.__name__ for part in (convolution, dropout, linear, lookup, normalization, padding, pooling)}
    families |= {part.__name__ for part in (planes, sized, temporal)}
    defined = {kind.torch_name for kind in CLASSES.values() if kind.__module__ in families}
    assert defined == {layer.torch_name for layer, _shape in LAYERS} | TRIED_ELSEWHERE
