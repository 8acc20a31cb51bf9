"""Layers that bring values to a common scale: by batch, by neighbours, by length."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from jobs.torch7.module import BadArgument, TorchModule, lua_method, refuse_absurd_size, torch_class
from jobs.torch7.sizes import (
    as_lua,
    check_dimensions,
    is_true,
    real_number,
    shape_of,
    whole_numbers,
    with_batch,
)


class _BatchNormalization(TorchModule, _BatchNorm):
    """Batch normalization with Torch's first weights, drawn between 0 and 1."""

    lua_fields = TorchModule.lua_fields | {name: name for name in ("eps", "momentum", "affine", "nDim")}
    nDim: ClassVar[int]

    def __init__(
        self,
        nOutput: int | None = None,
        eps: float | None = None,
        momentum: float | None = None,
        affine: bool | None = None,
    ) -> None:
        usage = f"{self.torch_name}(64)"
        (planes,) = whole_numbers(usage, nOutput=nOutput)
        refuse_absurd_size(self.torch_name, planes)
        if not isinstance(affine, bool | None):
            raise BadArgument(f"{self.torch_name} got {as_lua(affine)} for affine; it takes true or false")
        tiny = real_number(usage, "eps", eps, 1e-5)
        share = real_number(usage, "momentum", momentum, 0.1)
        super().__init__(planes, tiny, share, affine is not False)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.affine:
            nn.init.uniform_(self.weight)

    @lua_method("reset")
    def reset(self, std: float | None = None) -> None:
        """Torch draws the same whatever the deviation is, and forgets the running mean and variance."""
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        # While it learns Torch takes batches only.
        if input.dim() == self.nDim - 1 and not self.training:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        return super().forward(input)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() != self.nDim:
            got = f"only mini-batch supported ({self.nDim}D tensor), got {input.dim()}D tensor instead"
            raise ValueError(f"{self.torch_name}: {got}: {shape_of(input)}")

    def described(self) -> str:
        return f"{self.torch_name} ({self.nDim}D) ({self.num_features})"


@torch_class("BatchNormalization")
class BatchNormalization(_BatchNormalization, nn.BatchNorm1d):
    nDim = 2


@torch_class("SpatialBatchNormalization")
class SpatialBatchNormalization(_BatchNormalization, nn.BatchNorm2d):
    nDim = 4


@torch_class("VolumetricBatchNormalization")
class VolumetricBatchNormalization(_BatchNormalization, nn.BatchNorm3d):
    nDim = 5


@torch_class("SpatialCrossMapLRN")
class SpatialCrossMapLRN(TorchModule, nn.Module):
    """Divides by what the planes beside a plane have at the same place."""

    lua_fields = TorchModule.lua_fields | {name: name for name in ("size", "alpha", "beta", "k")}

    def __init__(
        self, size: int | None = None, alpha: float | None = None, beta: float | None = None, k: float | None = None
    ) -> None:
        super().__init__()
        usage = f"{self.torch_name}(5, 0.0001, 0.75)"
        (self.size,) = whole_numbers(usage, size=size)
        self.alpha = real_number(usage, "alpha", alpha, 1e-4)
        self.beta = real_number(usage, "beta", beta, 0.75)
        self.k = real_number(usage, "k", k, 1)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        # Of an even number the larger half comes after the plane; in PyTorch before it.
        before = (self.size - 1) // 2
        squares = functional.pad(input.square(), (0, 0, 0, 0, before, self.size - 1 - before))
        means = with_batch(self._means, squares, 3)
        return input * (means * self.alpha + self.k).pow(-self.beta)

    def _means(self, planes: Tensor) -> Tensor:
        return functional.avg_pool3d(planes.unsqueeze(1), (self.size, 1, 1), 1).squeeze(1)


class _LocalNormalization(TorchModule, nn.Module):
    """Looks at the neighbourhood of a place in all planes, weighed by a kernel; at a border at the part that is inside."""

    lua_fields = TorchModule.lua_fields | {name: name for name in ("nInputPlane", "kernel", "threshold", "thresval")}
    kernel: Tensor
    subtracts = True
    divides = True

    def __init__(
        self,
        nInputPlane: int | None = None,
        kernel: Tensor | None = None,
        threshold: float | None = None,
        thresval: float | None = None,
    ) -> None:
        super().__init__()
        usage = f"{self.torch_name}(3, torch.ones(9, 9))"
        (self.nInputPlane,) = whole_numbers(usage, nInputPlane=1 if nInputPlane is None else nInputPlane)
        self.threshold = real_number(usage, "threshold", threshold, 1e-4)
        self.thresval = real_number(usage, "thresval", thresval, self.threshold)
        window = torch.ones(9, 9) if kernel is None else kernel
        if not isinstance(window, Tensor) or window.dim() not in (1, 2) or not all(side % 2 for side in window.shape):
            got = f"a kernel of {shape_of(window)}" if isinstance(window, Tensor) else as_lua(window)
            raise BadArgument(f"{self.torch_name} got {got}; it takes one or two odd sides, as in {usage}")
        window = window.to(torch.get_default_dtype())
        # One dimension stands for its product with itself.
        window = torch.outer(window, window) if window.dim() == 1 else window
        self.register_buffer("kernel", window / (window.sum() * self.nInputPlane), persistent=False)

    def _weighed(self, planes: Tensor) -> Tensor:
        """The sum of the neighbourhood over all planes, for each place."""
        height, width = self.kernel.shape
        weight = self.kernel.expand(1, planes.shape[1], height, width)
        return functional.conv2d(planes, weight, padding=(height // 2, width // 2))

    def _inside(self, images: Tensor) -> Tensor:
        """How much of a neighbourhood lies inside the image: 1 but at the borders."""
        return self._weighed(images.new_ones(1, 1, *images.shape[-2:])) * self.nInputPlane

    def _subtracted(self, images: Tensor) -> Tensor:
        return images - self._weighed(images) / self._inside(images)

    def _divided(self, images: Tensor) -> Tensor:
        squares = self._weighed(images.square())
        # Where all is 0 the root's slope is infinite; Torch gives 0 back there.
        is_blank = squares == 0
        deviation = squares.masked_fill(is_blank, 1).sqrt().masked_fill(is_blank, 0) / self._inside(images)
        return images / functional.threshold(deviation, self.threshold, self.thresval)

    def _normalized(self, images: Tensor) -> Tensor:
        centred = self._subtracted(images) if self.subtracts else images
        return self._divided(centred) if self.divides else centred

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 3, 4)
        if input.shape[-3] != self.nInputPlane:
            raise ValueError(f"{self.torch_name} takes {self.nInputPlane} planes; it got {shape_of(input)}")
        return with_batch(self._normalized, input, 3)


@torch_class("SpatialSubtractiveNormalization")
class SpatialSubtractiveNormalization(_LocalNormalization):
    divides = False


@torch_class("SpatialDivisiveNormalization")
class SpatialDivisiveNormalization(_LocalNormalization):
    subtracts = False


@torch_class("SpatialContrastiveNormalization")
class SpatialContrastiveNormalization(_LocalNormalization):
    """Subtracts the neighbourhood's mean, then divides by its deviation."""


@torch_class("Normalize")
class Normalize(TorchModule, nn.Module):
    """Divides a vector, or each of a batch, by its p-norm."""

    lua_fields = TorchModule.lua_fields | {"p": "p", "eps": "eps"}

    def __init__(self, p: float | None = None, eps: float | None = None) -> None:
        super().__init__()
        usage = f"{self.torch_name}(2)"
        self.p = real_number(usage, "p", p, 0)
        self.eps = real_number(usage, "eps", eps, 1e-10)
        if self.p <= 0:
            raise BadArgument(f"{self.torch_name} got {as_lua(p)} for p; it takes a number above 0, as in {usage}")

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 1, 2)
        if math.isinf(self.p):
            return input / (input.abs().amax(-1, keepdim=True) + self.eps)
        powers = input.abs().pow(self.p).sum(-1, keepdim=True)
        return input / (powers + self.eps).pow(1 / self.p)

    def described(self) -> str:
        is_whole = math.isfinite(self.p) and self.p == int(self.p)
        return f"{self.torch_name}({int(self.p) if is_whole else format(self.p, 'f')})"


@torch_class("LayerNormalization")
class LayerNormalization(TorchModule, nn.Module):
    """Each vector less its mean, by its deviation; then a factor and a number for each value."""

    lua_fields = TorchModule.lua_fields | {"eps": "eps"}
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        nOutput: int | None = None,
        bias: float | None = None,
        eps: float | None = None,
        affine: bool | None = None,
    ) -> None:
        super().__init__()
        usage = f"{self.torch_name}(300)"
        (values,) = whole_numbers(usage, nOutput=nOutput)
        refuse_absurd_size(self.torch_name, values)
        first_bias = float(real_number(usage, "bias", bias, 0))
        self.eps = real_number(usage, "eps", eps, 1e-10)
        has_weights = affine is None or is_true(affine)
        self.weight = nn.Parameter(torch.ones(values)) if has_weights else None
        self.bias = nn.Parameter(torch.full((values,), first_bias)) if has_weights else None

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 1, 2)
        centred = input - input.mean(-1, keepdim=True)
        # Torch adds its small number to the sum of squares, PyTorch to their mean.
        length = (centred.square().sum(-1, keepdim=True) + self.eps).sqrt()
        normal = centred / length * math.sqrt(input.shape[-1])
        return normal if self.weight is None or self.bias is None else normal * self.weight + self.bias
