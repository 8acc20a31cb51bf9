"""Torch's functions of single values, and of all values of a slice: ReLU, Tanh, SoftMax and their kind.

Where Torch may work in place the flag is kept, and the result is a new tensor: autograd needs the old values.
"""

from torch import Tensor, nn
from torch.nn import functional

from jobs.torch7.module import TorchModule, torch_class


class MaybeInPlace(TorchModule):
    """A function that Torch may compute in place."""

    lua_fields = TorchModule.lua_fields | {"inplace": "in_place"}
    in_place: bool


@torch_class("ReLU")
class ReLU(MaybeInPlace, nn.ReLU):
    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.in_place = bool(in_place)


def softmax_dimension(name: str, input: Tensor) -> int:
    """Where Torch's soft maxima look for classes: beside the batch when there is one, among planes in an image."""
    if not 1 <= input.dim() <= 4:
        raise ValueError(f"{name} takes one to four dimensions; the input has {input.dim()}")
    return 0 if input.dim() in (1, 3) else 1


@torch_class("LogSoftMax")
class LogSoftMax(TorchModule, nn.LogSoftmax):
    def forward(self, input: Tensor) -> Tensor:
        return functional.log_softmax(input, softmax_dimension(self.torch_name, input))
