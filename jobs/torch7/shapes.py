"""Torch's modules that give the values they got in another shape, or some of them."""

from math import prod
from typing import Any

from torch import Tensor, nn

from jobs.torch7.module import BadArgument, TorchModule, lua_method, torch_class

Value = Any  # a tensor, or a list of tensors and lists: what Torch calls a table


def passed_on(value: Value) -> Value:
    """The same values in tensors of their own, so that who else reads the same tensor is not taken to be fed from here."""
    return value.view_as(value) if isinstance(value, Tensor) else [passed_on(part) for part in value]


def sizes_of(name: str, given: tuple[Any, ...], may_infer: bool = False) -> list[int]:
    """Sizes given one by one, or as one list; -1, where it may stand, at most once."""
    sizes = list(given[0]) if len(given) == 1 and isinstance(given[0], list | tuple) else list(given)
    if not sizes:
        raise BadArgument(f"{name} needs sizes: {name}(1, 28, 28)")
    for size in sizes:
        is_whole = isinstance(size, int) and not isinstance(size, bool)
        if not is_whole or (size < 1 and not (may_infer and size == -1)):
            allowed = "whole numbers from 1 on, or -1 for what is left" if may_infer else "whole numbers from 1 on"
            raise BadArgument(f"{name} got the size {size!r}; sizes are {allowed}")
    if sizes.count(-1) > 1:
        raise BadArgument(f"{name} got -1 twice; only one size can be inferred")
    return sizes


def _written(sizes: list[int]) -> str:
    return "x".join(map(str, sizes))


@torch_class("Identity")
class Identity(TorchModule, nn.Identity):
    def forward(self, input: Value) -> Value:
        return passed_on(input)


@torch_class("View")
class View(TorchModule, nn.Module):
    """Keeps a batch where it can tell that there is one.

    With `setNumInputDims` it can: what an input has beyond these dimensions is the batch. Without, what is left when
    the values are shared out over the sizes is; so a batch of one image loses its first dimension, as in Torch.
    """

    lua_fields = TorchModule.lua_fields | {
        "size": "sizes",
        "numElements": "element_count",
        "numInputDims": "num_input_dims",
    }

    def __init__(self, *sizes: Any) -> None:
        super().__init__()
        self.num_input_dims: int | None = None
        self.reset_size(*sizes)

    @lua_method("resetSize")
    def reset_size(self, *sizes: Any) -> None:
        self.sizes = sizes_of(self.torch_name, sizes, may_infer=True)
        self.element_count = prod(size for size in self.sizes if size != -1)

    @lua_method("setNumInputDims")
    def set_num_input_dims(self, dimensions: int) -> None:
        self.num_input_dims = dimensions

    def described(self) -> str:
        return f"{self.torch_name}({', '.join(map(str, self.sizes))})"

    def forward(self, input: Tensor) -> Tensor:
        batch = self._batch_size(list(input.shape))
        return input.reshape(self.sizes if batch is None else [batch, *self.sizes])

    def _batch_size(self, shape: list[int]) -> int | None:
        """How many images there are; None when the input is one without a batch."""
        dimensions = len(shape)
        of_image = dimensions if self.num_input_dims is None else min(self.num_input_dims, dimensions)
        values = prod(shape[dimensions - of_image :])
        if values % self.element_count:
            raise ValueError(f"input view ({_written(shape)}) and desired view ({_written(self.sizes)}) do not match")
        in_view = 1 if -1 in self.sizes else values // self.element_count
        batch = in_view * prod(shape[: dimensions - of_image])
        if batch == 1 and (self.num_input_dims is None or dimensions <= self.num_input_dims):
            return None
        return batch
