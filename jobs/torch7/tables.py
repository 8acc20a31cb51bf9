"""Torch's modules between tables, which are lists of tensors here, and tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jobs.torch7.activations import MaybeInPlace
from jobs.torch7.module import BadArgument, TorchModule, dimension, torch_class
from jobs.torch7.shapes import Value, dimension_beside_batch, passed_on, place, slices
from jobs.torch7.sizes import any_whole_numbers, shape_of, whole_numbers


def table(name: str, input: Value, at_least: int = 1) -> list[Any]:
    """The input if it is a table with so many entries; ValueError says what it is else."""
    if not isinstance(input, list | tuple):
        got = f"a tensor of {shape_of(input)}" if isinstance(input, Tensor) else type(input).__name__
        raise ValueError(f"{name} takes a table, got {got}")
    if len(input) < at_least:
        raise ValueError(f"{name} takes a table of {at_least} or more, got one of {len(input)}")
    return list(input)


def pair(name: str, input: Value) -> tuple[Any, Any]:
    parts = table(name, input, 2)
    return parts[0], parts[1]


def same_shape(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors in the shape of the first. Torch counts values and never stretches one tensor over another."""
    first = tensors[0]
    for other in tensors[1:]:
        if other.numel() != first.numel():
            raise ValueError(
                f"{name} got tensors of {shape_of(first)} and {shape_of(other)}; they must have as many values"
            )
    return [other.reshape(first.shape) for other in tensors]


class _OfDimension(TorchModule, nn.Module):
    lua_fields = TorchModule.lua_fields | {"dimension": "dimension", "nInputDims": "input_dims"}

    def __init__(self, dimension: int, input_dims: int | None = None) -> None:
        super().__init__()
        any_whole_numbers(f"{self.torch_name}(2)", dimension=dimension)
        self.dimension = dimension
        self.input_dims = input_dims


@torch_class("JoinTable")
class JoinTable(_OfDimension):
    def forward(self, input: Value) -> Tensor:
        parts = table(self.torch_name, input)
        return torch.cat(parts, dimension_beside_batch(self.dimension, self.input_dims, parts[0]))


@torch_class("SplitTable")
class SplitTable(_OfDimension):
    def forward(self, input: Tensor) -> list[Tensor]:
        along = dimension_beside_batch(self.dimension, self.input_dims, input)
        return list(slices(self.torch_name, input, along))


@torch_class("SelectTable")
class SelectTable(TorchModule, nn.Module):
    """One entry: by its number, from the end if that is negative, or by its name."""

    lua_fields = TorchModule.lua_fields | {"index": "index"}

    def __init__(self, index: int | str) -> None:
        super().__init__()
        if not isinstance(index, str):
            any_whole_numbers(f"{self.torch_name}(1)", index=index)
        self.index = index

    def described(self) -> str:
        return f"{self.torch_name}({self.index})"

    def forward(self, input: Value) -> Value:
        if isinstance(self.index, str):
            if not isinstance(input, dict) or self.index not in input:
                raise ValueError(f"{self.torch_name}: {self.index!r} does not exist in the input table")
            return passed_on(input[self.index])
        parts = table(self.torch_name, input)
        return passed_on(parts[place(self.torch_name, self.index, len(parts))])


@torch_class("NarrowTable")
class NarrowTable(TorchModule, nn.Module):
    """Some entries, from `offset` on."""

    lua_fields = TorchModule.lua_fields | {"offset": "offset", "length": "length"}

    def __init__(self, offset: int, length: int = 1) -> None:
        super().__init__()
        whole_numbers(f"{self.torch_name}(1, 2)", offset=offset, length=length)
        self.offset = offset
        self.length = length

    def forward(self, input: Value) -> list[Any]:
        parts = table(self.torch_name, input)
        last = self.offset - 1 + self.length
        if last > len(parts):
            raise ValueError(f"{self.torch_name} asks for numbers {self.offset} to {last}, and there are {len(parts)}")
        return [passed_on(part) for part in parts[self.offset - 1 : last]]


@torch_class("FlattenTable")
class FlattenTable(TorchModule, nn.Module):
    """The tensors of tables within tables, in one table."""

    def forward(self, input: Value) -> list[Tensor]:
        return [passed_on(tensor) for tensor in _flat(table(self.torch_name, input))]


def _flat(value: Value) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in _flat(part)]


@torch_class("ReverseTable")
class ReverseTable(TorchModule, nn.Module):
    def forward(self, input: Value) -> list[Any]:
        return [passed_on(part) for part in reversed(table(self.torch_name, input))]


@torch_class("ZipTable")
class ZipTable(TorchModule, nn.Module):
    """{{a1, a2}, {b1, b2}} becomes {{a1, b1}, {a2, b2}}."""

    def forward(self, input: Value) -> list[Any]:
        parts = [table(self.torch_name, part) for part in table(self.torch_name, input)]
        lengths = {len(part) for part in parts}
        if len(lengths) > 1:
            raise ValueError(f"{self.torch_name} takes tables of one length, got {sorted(lengths)}")
        return [passed_on(list(entries)) for entries in zip(*parts, strict=True)]


@torch_class("ZipTableOneToMany")
class ZipTableOneToMany(TorchModule, nn.Module):
    """{v, {a, b}} becomes {{v, a}, {v, b}}."""

    def forward(self, input: Value) -> list[Any]:
        one, many = pair(self.torch_name, input)
        return [passed_on([one, part]) for part in table(self.torch_name, many)]


class _EntryByEntry(MaybeInPlace, nn.Module):
    """All tensors of a table as one, value by value."""

    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.in_place = bool(in_place)

    def _folded(self, input: Value, join: Callable[[Tensor, Tensor], Tensor], at_least: int = 1) -> Tensor:
        result, *others = same_shape(self.torch_name, table(self.torch_name, input, at_least))
        for other in others:
            result = join(result, other)
        return result if others else result.view_as(result)


@torch_class("CAddTable")
class CAddTable(_EntryByEntry):
    def forward(self, input: Value) -> Tensor:
        return self._folded(input, torch.add)


@torch_class("CAveTable")
class CAveTable(_EntryByEntry):
    def forward(self, input: Value) -> Tensor:
        return self._folded(input, torch.add) / len(input)


@torch_class("CMulTable")
class CMulTable(_EntryByEntry):
    def forward(self, input: Value) -> Tensor:
        return self._folded(input, torch.mul)


@torch_class("CSubTable")
class CSubTable(_EntryByEntry):
    def forward(self, input: Value) -> Tensor:
        return self._folded(pair(self.torch_name, input), torch.sub)


@torch_class("CDivTable")
class CDivTable(_EntryByEntry):
    def forward(self, input: Value) -> Tensor:
        return self._folded(pair(self.torch_name, input), torch.div)


@torch_class("CMaxTable")
class CMaxTable(_EntryByEntry):
    """The largest value; of equal ones the first gets the gradient."""

    def forward(self, input: Value) -> Tensor:
        return self._folded(input, lambda largest, other: torch.where(other > largest, other, largest))


@torch_class("CMinTable")
class CMinTable(_EntryByEntry):
    """The smallest value; of equal ones the first gets the gradient."""

    def forward(self, input: Value) -> Tensor:
        return self._folded(input, lambda smallest, other: torch.where(other < smallest, other, smallest))


@torch_class("CAddTensorTable")
class CAddTensorTable(TorchModule, nn.Module):
    """{v, {a, b}} becomes {v + a, v + b}."""

    def forward(self, input: Value) -> list[Tensor]:
        one, many = pair(self.torch_name, input)
        return [torch.add(*same_shape(self.torch_name, [part, one])) for part in table(self.torch_name, many)]


@torch_class("MixtureTable")
class MixtureTable(TorchModule, nn.Module):
    """Of a table of gates and experts, the sum of the experts, each times its gate.

    The experts are a table, or one tensor with an expert for every number of dimension `dim`.
    """

    lua_fields = TorchModule.lua_fields | {"dim": "dim"}

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Value) -> Tensor:
        gates, experts = pair(self.torch_name, input)
        has_batch = gates.dim() > 1
        if isinstance(experts, Tensor):
            usual = 2 if has_batch else 1
            experts = experts.unbind(dimension(usual if self.dim is None else self.dim, experts.dim()))
        if gates.shape[-1] != len(experts):
            raise ValueError(f"Should be one gater output per expert: {gates.shape[-1]} for {len(experts)} experts")
        total: Tensor = sum(
            gate.reshape(gate.shape + (1,) * (expert.dim() - gate.dim())) * expert
            for gate, expert in zip(gates.unbind(-1), experts, strict=True)
        )
        return total


def _matrix(name: str, what: str, tensor: Tensor, turned: bool) -> Tensor:
    if tensor.dim() not in (2, 3):
        raise ValueError(f"{name}: {what} must be 2D or 3D, it is {shape_of(tensor)}")
    return tensor.transpose(-2, -1) if turned else tensor


@torch_class("MM")
class MM(TorchModule, nn.Module):
    """The product of two matrices, or of the matrices of two batches."""

    lua_fields = TorchModule.lua_fields | {"transA": "first_turned", "transB": "second_turned"}

    def __init__(self, first_turned: bool = False, second_turned: bool = False) -> None:
        super().__init__()
        self.first_turned = bool(first_turned)
        self.second_turned = bool(second_turned)

    def forward(self, input: Value) -> Tensor:
        first, second = pair(self.torch_name, input)
        first = _matrix(self.torch_name, "the first tensor", first, self.first_turned)
        second = _matrix(self.torch_name, "the second tensor", second, self.second_turned)
        if first.dim() != second.dim() or first.shape[:-2] != second.shape[:-2] or first.shape[-1] != second.shape[-2]:
            raise ValueError(f"{self.torch_name}: matrix sizes do not match: {shape_of(first)} and {shape_of(second)}")
        return torch.matmul(first, second)


@torch_class("MV")
class MV(TorchModule, nn.Module):
    """The product of a matrix and a vector, or of those of two batches."""

    lua_fields = TorchModule.lua_fields | {"trans": "turned"}

    def __init__(self, turned: bool = False) -> None:
        super().__init__()
        self.turned = bool(turned)

    def forward(self, input: Value) -> Tensor:
        matrix, vector = pair(self.torch_name, input)
        matrix = _matrix(self.torch_name, "the matrix", matrix, self.turned)
        if vector.shape != (*matrix.shape[:-2], matrix.shape[-1]):
            raise ValueError(
                f"{self.torch_name}: a matrix of {shape_of(matrix)} and a vector of {shape_of(vector)} do not match"
            )
        return torch.matmul(matrix, vector.unsqueeze(-1)).squeeze(-1)


def _rows(name: str, input: Value) -> tuple[Tensor, Tensor]:
    """Two vectors for every image; a pair of vectors without a batch is a batch of one."""
    first, second = same_shape(name, pair(name, input))
    if first.dim() > 2:
        raise ValueError(f"{name} takes vectors or matrices, got {shape_of(first)}")
    return (first, second) if first.dim() == 2 else (first.unsqueeze(0), second.unsqueeze(0))


@torch_class("DotProduct")
class DotProduct(TorchModule, nn.Module):
    def forward(self, input: Value) -> Tensor:
        first, second = _rows(self.torch_name, input)
        return (first * second).sum(1)


@torch_class("CosineDistance")
class CosineDistance(TorchModule, nn.Module):
    """The cosine of the angle between two vectors; 1e-12 is added to both squared lengths."""

    def forward(self, input: Value) -> Tensor:
        first, second = _rows(self.torch_name, input)
        squares = (first.square().sum(1) + 1e-12) * (second.square().sum(1) + 1e-12)
        return (first * second).sum(1) / squares.sqrt()


@torch_class("PairwiseDistance")
class PairwiseDistance(TorchModule, nn.Module):
    """The p-norm of the difference of two vectors."""

    lua_fields = TorchModule.lua_fields | {"norm": "norm"}

    def __init__(self, norm: float = 2) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, input: Value) -> Tensor:
        first, second = _rows(self.torch_name, input)
        distances: Tensor = torch.linalg.vector_norm(first - second, self.norm, dim=1)
        return distances


@torch_class("CriterionTable")
class CriterionTable(TorchModule, nn.Module):
    """A criterion as a module: of a table of output and target, the loss."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        if not isinstance(criterion, nn.Module):
            raise BadArgument(f"{self.torch_name} takes a criterion: {self.torch_name}(nn.MSECriterion())")
        self.criterion = criterion

    def forward(self, input: Value) -> Tensor:
        loss: Tensor = self.criterion(*pair(self.torch_name, input))
        return loss.reshape(1)
