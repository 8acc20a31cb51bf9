"""Layers whose input are indices from 1 on."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import TorchModule, lua_method, refuse_absurd_size, torch_class
from jobs.torch7.sizes import check_dimensions, or_default, real_number, whole_numbers


class TakesIndices(TorchModule, nn.Module):
    """A layer whose input are whole numbers from 1 to `index_count`. On a GPU any other ends the process, as in Torch."""

    index_count: int

    def misfit(self, input: Tensor) -> ValueError:
        """The error for an input of which a value is no index."""
        lowest, highest = int(input.min()), int(input.max())
        got = f"it got values from {lowest} to {highest}"
        return ValueError(f"{self.torch_name} takes indices from 1 to {self.index_count}; {got}")


@torch_class("LookupTable")
class LookupTable(TakesIndices):
    """A vector for each index. That of `paddingValue` is not trained; none gets longer than `maxNorm` once it is used."""

    lua_fields = TorchModule.lua_fields | {
        "nIndex": "index_count",
        "paddingValue": "paddingValue",
        "maxNorm": "maxNorm",
        "normType": "normType",
    }

    def __init__(
        self,
        nIndex: int | None = None,
        nOutput: int | None = None,
        paddingValue: int | None = None,
        maxNorm: float | None = None,
        normType: float | None = None,
    ) -> None:
        usage = "nn.LookupTable(71, 32)"
        count, values = whole_numbers(usage, nIndex=nIndex, nOutput=nOutput)
        refuse_absurd_size(self.torch_name, count, values)
        super().__init__()
        self.index_count = count
        (self.paddingValue,) = whole_numbers(usage, 0, paddingValue=or_default(paddingValue, 0))
        self.maxNorm = None if maxNorm is None else real_number(usage, "maxNorm", maxNorm, 0)
        self.normType = real_number(usage, "normType", normType, 2)
        self.weight = nn.Parameter(torch.empty(count, values))
        self.reset()

    @lua_method("reset")
    def reset(self, std: float | None = None) -> None:
        self.weight.data.normal_(0, 1 if std is None else std)

    @lua_method("setNormType")
    def set_norm_type(self, norm_type: float) -> None:
        self.normType = norm_type

    def forward(self, input: Tensor) -> Tensor:
        check_dimensions(self.torch_name, input, 1, 2)
        indices = input.long() - 1
        padding = self.paddingValue - 1 if 0 < self.paddingValue <= self.index_count else None
        try:
            self._shorten(indices)
            return functional.embedding(indices, self.weight, padding)
        except IndexError as error:
            raise self.misfit(input) from error

    def _shorten(self, indices: Tensor) -> None:
        """Bring the vectors that are used to at most the largest norm, as Torch does before it looks them up."""
        if self.maxNorm is None:
            return
        with torch.no_grad():
            used = indices.reshape(-1)
            vectors = self.weight.index_select(0, used)
            self.weight.index_copy_(0, used, vectors.renorm(self.normType, 0, self.maxNorm))


@torch_class("OneHot")
class OneHot(TakesIndices):
    """Each index as a further dimension of zeros in which the index's place is 1."""

    lua_fields = TorchModule.lua_fields | {"outputSize": "index_count"}

    def __init__(self, outputSize: int | None = None) -> None:
        super().__init__()
        (self.index_count,) = whole_numbers("nn.OneHot(71)", outputSize=outputSize)

    def forward(self, input: Tensor) -> Tensor:
        kind = input.dtype if input.is_floating_point() else torch.get_default_dtype()
        zeros = torch.zeros(*input.shape, self.index_count, dtype=kind, device=input.device)
        try:
            return zeros.scatter(-1, (input.long() - 1).unsqueeze(-1), 1)
        except RuntimeError as error:
            if input.is_cuda:
                raise
            raise self.misfit(input) from error
