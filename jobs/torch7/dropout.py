"""Layers of chance: what they drop or add while a network learns."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import BadArgument, TorchModule, lua_method, torch_class
from jobs.torch7.sizes import as_lua, check_dimensions, is_true, real_number


class _Dropping(TorchModule, nn.Module):
    lua_fields = TorchModule.lua_fields | {"p": "p"}

    def __init__(self, p: float | None = None) -> None:
        super().__init__()
        self.set_share(p)

    @lua_method("setp")
    def set_share(self, p: float | None) -> None:
        self.p = real_number(f"{self.torch_name}(0.5)", "p", p, 0.5)
        if not 0 <= self.p < 1:
            raise BadArgument(f"{self.torch_name} got {as_lua(p)} for p; it takes 0 ≤ p < 1")

    def described(self) -> str:
        return f"{self.torch_name}({self.p:f})"


@torch_class("Dropout")
class Dropout(_Dropping):
    """Drops values and makes the others larger; in its first version (`v1`) all get smaller in tests instead."""

    lua_fields = _Dropping.lua_fields | {"v2": "grows", "inplace": "in_place"}

    def __init__(
        self,
        p: float | None = None,
        v1: bool | None = None,
        inplace: bool | None = None,
        stochasticInference: bool | None = None,
    ) -> None:
        super().__init__(p)
        self.grows = not is_true(v1)
        self.in_place = is_true(inplace)
        self.always = is_true(stochasticInference)

    def forward(self, input: Tensor) -> Tensor:
        drops = self.training or self.always
        if self.grows:
            return functional.dropout(input, self.p, drops)
        kept = 1 - self.p
        return input * torch.empty_like(input).bernoulli_(kept) if drops else input * kept


class _DroppingPlanes(_Dropping):
    """Drops whole planes. Unlike PyTorch's and unlike nn.Dropout it makes values smaller in tests, by 1 - p."""

    sides: int

    def __init__(self, p: float | None = None, stochasticInference: bool | None = None) -> None:
        super().__init__(p)
        self.always = is_true(stochasticInference)

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, self.sides + 1, self.sides + 2)
        kept = 1 - self.p
        if not (self.training or self.always):
            return input * kept
        planes = input.shape[: -self.sides] + (1,) * self.sides
        return input * input.new_empty(planes).bernoulli_(kept)


@torch_class("SpatialDropout")
class SpatialDropout(_DroppingPlanes):
    sides = 2


@torch_class("VolumetricDropout")
class VolumetricDropout(_DroppingPlanes):
    sides = 3


@torch_class("WhiteNoise")
class WhiteNoise(TorchModule, nn.Module):
    """Adds normal noise; in tests its mean."""

    lua_fields = TorchModule.lua_fields | {"mean": "mean", "std": "std"}

    def __init__(self, mean: float | None = None, std: float | None = None) -> None:
        super().__init__()
        usage = "nn.WhiteNoise(0, 0.1)"
        self.mean = real_number(usage, "mean", mean, 0)
        self.std = real_number(usage, "std", std, 0.1)

    def forward(self, input: Tensor) -> Tensor:
        return input + torch.randn_like(input) * self.std + self.mean if self.training else input + self.mean

    def described(self) -> str:
        return f"{self.torch_name} mean: {self.mean:f}, std: {self.std:f}"
