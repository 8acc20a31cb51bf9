"""Torch's modules that give the values they got in another shape, or some of them."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from jobs.torch7.module import BadArgument, TorchModule, dimension, lua_method, torch_class
from jobs.torch7.sizes import any_whole_numbers, as_lua, by_crosses, whole_numbers

# A tensor; or a table of tensors and tables, which is a list, or a dict where its entries have names.
Value = Any


def passed_on(value: Value) -> Value:
    """The same values in tensors of their own, so that who else reads the same tensor is not taken to be fed from here."""
    if isinstance(value, Tensor):
        return value.view_as(value)
    if isinstance(value, dict):
        return {name: passed_on(part) for name, part in value.items()}
    return [passed_on(part) for part in value] if isinstance(value, list | tuple) else value


def sizes_of(name: str, given: tuple[Any, ...], may_infer: bool = False) -> list[int]:
    """Sizes given one by one, or as one list; -1, where it may stand, at most once."""
    sizes = list(given[0]) if len(given) == 1 and isinstance(given[0], list | tuple) else list(given)
    if not sizes:
        raise BadArgument(f"{name} needs sizes: {name}(1, 28, 28)")
    for size in sizes:
        is_whole = isinstance(size, int) and not isinstance(size, bool)
        if not is_whole or (size < 1 and not (may_infer and size == -1)):
            allowed = "whole numbers from 1 on, or -1 for what is left" if may_infer else "whole numbers from 1 on"
            raise BadArgument(f"{name} got the size {as_lua(size)}; sizes are {allowed}")
    if sizes.count(-1) > 1:
        raise BadArgument(f"{name} got -1 twice; only one size can be inferred")
    return sizes


def dimension_beside_batch(number: int, input_dims: int | None, input: Tensor) -> int:
    """Torch's dimension as PyTorch counts it; one further where the input has a batch beside `input_dims` dimensions."""
    if number > 0 and input_dims is not None and input.dim() == input_dims + 1:
        number += 1
    return dimension(number, input.dim())


def place(name: str, number: int, there_are: int) -> int:
    """Torch's place in a row, counted from 1 or from the end, as Python counts it."""
    found = number - 1 if number > 0 else there_are + number
    if not 0 <= found < there_are:
        raise ValueError(f"{name} asks for number {number}, and there are {there_are}")
    return found


def slices(name: str, input: Tensor, along: int) -> tuple[Tensor, ...]:
    """The slices along a dimension. Torch knows no tensor without dimensions, so a vector has none."""
    if input.dim() < 2:
        raise ValueError(f"{name} cannot select from a vector: the input has one dimension")
    return input.unbind(along)


@torch_class("Identity")
class Identity(TorchModule, nn.Identity):
    def forward(self, input: Value) -> Value:
        return passed_on(input)


@torch_class("Copy")
class Copy(Identity):
    """Torch's change of a tensor's type; there is one type here."""

    def __init__(self, input_type: str | None = None, output_type: str | None = None, *flags: bool) -> None:
        super().__init__()


@torch_class("Contiguous")
class Contiguous(TorchModule, nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        return input.view_as(input) if input.is_contiguous() else input.contiguous()


@torch_class("ZeroGrad")
class ZeroGrad(TorchModule, nn.Module):
    """Gives its input, and nothing before it learns from what is behind."""

    def forward(self, input: Tensor) -> Tensor:
        return input.detach()


class _KnowsInputDims(TorchModule):
    """A module that may be told how many dimensions an input has; what it has beyond them is the batch."""

    lua_fields = TorchModule.lua_fields | {"numInputDims": "num_input_dims"}
    num_input_dims: int | None

    @lua_method("setNumInputDims")
    def set_num_input_dims(self, dimensions: int | None) -> None:
        if dimensions is not None:
            whole_numbers(f"{self.torch_name}(1):setNumInputDims(3)", dimensions=dimensions)
        self.num_input_dims = dimensions


@torch_class("View")
class View(_KnowsInputDims, nn.Module):
    """Keeps a batch where it can tell that there is one.

    With `setNumInputDims` it can: what an input has beyond these dimensions is the batch. Without, what is left when
    the values are shared out over the sizes is; so a batch of one image loses its first dimension, as in Torch.
    """

    lua_fields = _KnowsInputDims.lua_fields | {"size": "sizes", "numElements": "element_count"}

    def __init__(self, *sizes: Any) -> None:
        super().__init__()
        self.num_input_dims = None
        self.reset_size(*sizes)

    @lua_method("resetSize")
    def reset_size(self, *sizes: Any) -> None:
        self.sizes = sizes_of(self.torch_name, sizes, may_infer=True)
        self.element_count = prod(size for size in self.sizes if size != -1)

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
            raise ValueError(
                f"input view ({by_crosses(shape)}) and desired view ({by_crosses(self.sizes)}) do not match"
            )
        in_view = 1 if -1 in self.sizes else values // self.element_count
        batch = in_view * prod(shape[: dimensions - of_image])
        if batch == 1 and (self.num_input_dims is None or dimensions <= self.num_input_dims):
            return None
        return batch


@torch_class("Reshape")
class Reshape(TorchModule, nn.Module):
    """Without a batch mode, an input with as many values as the sizes is one image, unless its first size is 1."""

    lua_fields = TorchModule.lua_fields | {"size": "sizes", "nelement": "element_count", "batchMode": "batch_mode"}

    def __init__(self, *sizes: Any) -> None:
        super().__init__()
        self.batch_mode: bool | None = None
        if sizes and (isinstance(sizes[-1], bool) or sizes[-1] is None):
            *plain, self.batch_mode = sizes
            sizes = tuple(plain)
        self.sizes = sizes_of(self.torch_name, sizes)
        self.element_count = prod(self.sizes)

    def described(self) -> str:
        return f"{self.torch_name}({by_crosses(self.sizes)})"

    def forward(self, input: Tensor) -> Tensor:
        is_one = input.numel() == self.element_count and input.shape[0] != 1
        if self.batch_mode is False or (self.batch_mode is None and is_one):
            return input.reshape(self.sizes)
        return input.reshape([input.shape[0], *self.sizes])


@torch_class("Collapse")
class Collapse(TorchModule, nn.Module):
    """Each image as one row of values."""

    lua_fields = TorchModule.lua_fields | {"nInputDim": "input_dims"}

    def __init__(self, input_dims: int) -> None:
        super().__init__()
        self.input_dims = input_dims

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(1) if input.dim() > self.input_dims else input.flatten()


@torch_class("Squeeze")
class Squeeze(_KnowsInputDims, nn.Module):
    lua_fields = _KnowsInputDims.lua_fields | {"dim": "dim"}

    def __init__(self, dim: int | None = None, num_input_dims: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.set_num_input_dims(num_input_dims)

    def forward(self, input: Tensor) -> Tensor:
        if self.dim is not None:
            squeezed = input.squeeze(dimension_beside_batch(self.dim, self.num_input_dims, input))
        elif self.num_input_dims is not None and input.dim() == self.num_input_dims + 1:
            # A batch of one image stays a batch.
            squeezed = input.squeeze(tuple(range(1, input.dim())))
        else:
            squeezed = input.squeeze()
        # Torch knows no tensor without dimensions.
        return squeezed if squeezed.dim() else squeezed.reshape(1)


@torch_class("Unsqueeze")
class Unsqueeze(_KnowsInputDims, nn.Module):
    lua_fields = _KnowsInputDims.lua_fields | {"pos": "position"}

    def __init__(self, position: int, num_input_dims: int | None = None) -> None:
        super().__init__()
        whole_numbers(f"{self.torch_name}(1)", position=position)
        self.position = position
        self.set_num_input_dims(num_input_dims)

    def described(self) -> str:
        return f"{self.torch_name}(dim {self.position})"

    def forward(self, input: Tensor) -> Tensor:
        of_batch = 0 if self.num_input_dims is None else input.dim() - self.num_input_dims
        if of_batch < 0:
            raise ValueError(f"the input has {input.dim()} dimensions, and numInputDims is {self.num_input_dims}")
        if of_batch + self.position > input.dim() + 1:
            raise ValueError(
                f"position {self.position} lies behind the dimensions of the input, which has {input.dim()}"
            )
        return input.unsqueeze(of_batch + self.position - 1)


@torch_class("Transpose")
class Transpose(TorchModule, nn.Module):
    """Swaps two dimensions for every pair, one pair after another."""

    def __init__(self, *pairs: list[int]) -> None:
        super().__init__()
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise BadArgument(f"{self.torch_name} takes pairs of dimensions: {self.torch_name}({{1, 2}}, {{2, 3}})")
        self.pairs = [tuple(pair) for pair in pairs]

    def forward(self, input: Tensor) -> Tensor:
        for first, second in self.pairs:
            input = input.transpose(dimension(first, input.dim()), dimension(second, input.dim()))
        return input


@torch_class("Narrow")
class Narrow(TorchModule, nn.Module):
    """Some slices along a dimension, from `offset` on. A negative length counts from the end: -1 is all that follow.

    With a negative offset Torch leaves out as many slices as the length is, at the end.
    """

    lua_fields = TorchModule.lua_fields | {"dimension": "dimension", "index": "offset", "length": "length"}

    def __init__(self, dimension: int, offset: int, length: int = 1) -> None:
        super().__init__()
        any_whole_numbers(f"{self.torch_name}(2, 1, 3)", dimension=dimension, offset=offset, length=length)
        self.dimension = dimension
        self.offset = offset
        self.length = length

    def forward(self, input: Tensor) -> Tensor:
        along = dimension(self.dimension, input.dim())
        size = input.shape[along]
        length = self.length if self.length >= 0 else size - self.offset + self.length + 2
        start = self.offset - 1
        if self.offset < 0:
            start, length = 0, size - length
        if start < 0 or length < 1 or start + length > size:
            raise ValueError(
                f"{length} from number {start + 1} on do not lie within the {size} of dimension {along + 1}"
            )
        return input.narrow(along, start, length)


@torch_class("Select")
class Select(TorchModule, nn.Module):
    lua_fields = TorchModule.lua_fields | {"dimension": "dimension", "index": "index"}

    def __init__(self, dimension: int, index: int) -> None:
        super().__init__()
        any_whole_numbers(f"{self.torch_name}(2, 1)", dimension=dimension, index=index)
        self.dimension = dimension
        self.index = index

    def forward(self, input: Tensor) -> Tensor:
        parts = slices(self.torch_name, input, dimension(self.dimension, input.dim()))
        return parts[place(self.torch_name, self.index, len(parts))]


@torch_class("Index")
class Index(TorchModule, nn.Module):
    """Of a table of values and numbers, the slices of the values that the numbers name, counted from 1."""

    lua_fields = TorchModule.lua_fields | {"dimension": "dimension"}

    def __init__(self, dimension: int) -> None:
        super().__init__()
        any_whole_numbers(f"{self.torch_name}(1)", dimension=dimension)
        self.dimension = dimension

    def forward(self, input: Value) -> Tensor:
        values, numbers = input
        return torch.index_select(values, dimension(self.dimension, values.dim()), numbers.long() - 1)


@torch_class("MaskedSelect")
class MaskedSelect(TorchModule, nn.Module):
    """Of a table of values and a mask, the values where the mask is not zero, as a vector."""

    def forward(self, input: Value) -> Tensor:
        values, mask = input
        return torch.masked_select(values, mask != 0)


@torch_class("Replicate")
class Replicate(TorchModule, nn.Module):
    """The same values again and again along a new dimension."""

    lua_fields = TorchModule.lua_fields | {"nfeatures": "times", "dim": "dim", "ndim": "input_dims"}

    def __init__(self, times: int, dim: int = 1, input_dims: int | None = None) -> None:
        super().__init__()
        whole_numbers(f"{self.torch_name}(3, 2)", times=times, dimension=dim)
        self.times = times
        self.dim = dim
        self.input_dims = input_dims

    def forward(self, input: Tensor) -> Tensor:
        has_batch = self.input_dims is not None and input.dim() > self.input_dims
        along = self.dim - 1 + int(has_batch)
        if along > input.dim():
            raise ValueError(f"Not enough input dimensions to replicate along dimension {self.dim}: {input.dim()}")
        return input.unsqueeze(along).expand(*input.shape[:along], self.times, *input.shape[along:])


@torch_class("Constant")
class Constant(TorchModule, nn.Module):
    """The same values whatever the input is; for every image of a batch when it is known how many dimensions one has."""

    lua_fields = TorchModule.lua_fields | {"value": "value", "nInputDim": "input_dims"}
    value: Tensor

    def __init__(self, value: float | Tensor, input_dims: int | None = None) -> None:
        super().__init__()
        tensor = value if isinstance(value, Tensor) else torch.tensor([float(value)])
        self.register_buffer("value", tensor.to(torch.get_default_dtype()))
        self.input_dims = input_dims

    def forward(self, input: Tensor) -> Tensor:
        if self.input_dims is not None and input.dim() > self.input_dims:
            return self.value.expand(input.shape[0], *self.value.shape)
        return self.value.view_as(self.value)
