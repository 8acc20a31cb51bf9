"""Weights that several layers share: one parameter, or a part of it seen another way, as a tied autoencoder has it.

Torch7 shares by assignment: `b.weight = a.weight`, `decoder.weight = encoder.weight:t()`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass(frozen=True)
class Part:
    """What a layer has of another's parameter, such as its transpose. It learns with the whole."""

    whole: Parameter
    size: tuple[int, ...]
    stride: tuple[int, ...]
    # From where the whole begins.
    offset: int
    stride_of_whole: tuple[int, ...]

    @classmethod
    def seen_by(cls, view: Tensor, base: Tensor, whole: Parameter) -> "Part":
        offset = int(view.storage_offset() - base.storage_offset())
        return cls(whole, tuple(view.shape), view.stride(), offset, whole.stride())

    @property
    def is_transposed(self) -> bool:
        """Whether it is all of a matrix, with rows for columns."""
        whole = self.whole
        return whole.dim() == 2 and (self.size, self.stride, self.offset) == (
            tuple(whole.shape[::-1]),
            whole.stride()[::-1],
            0,
        )

    def tensor(self) -> Tensor:
        return self.of(self.whole)

    def of(self, whole: Tensor) -> Tensor:
        """The same part of a tensor that lies in memory as the parameter does."""
        if whole.stride() != self.stride_of_whole:
            raise ValueError("the weight that a layer shares in part lies in memory in another order by now")
        return whole.as_strided(self.size, self.stride, whole.storage_offset() + self.offset)


class SharedWeights:
    """Which parameter stands for which tensor of Lua's: who gives one tensor to two layers shares it."""

    def __init__(self) -> None:
        self._parameters = WeakTensorKeyDictionary()
        # Where parameters lie in tensors that are no parameters themselves: first and last place.
        self._taken = WeakTensorKeyDictionary()
        # Parameters that were set to others: what they are now.
        self._set = WeakTensorKeyDictionary()

    def of(self, tensor: Tensor) -> Parameter | Part:
        """The parameter for a tensor, or the part of one. ValueError where two would lie in the same memory unseen."""
        base = tensor._base
        if base is None or isinstance(tensor, Parameter):
            return self._of_whole(tensor)
        if _lies_as(tensor, base):
            return self._of_whole(base)
        if isinstance(base, Parameter) or base in self._parameters:
            return Part.seen_by(tensor, base, self._of_whole(base))
        if tensor not in self._parameters:
            self.take(base, tensor)
        return self._of_whole(tensor)

    def set(self, parameter: Parameter, tensor: Tensor) -> None:
        """Lua set a parameter's memory to that of a tensor: `b.weight:set(a.weight)`."""
        self._set[parameter] = self.of(tensor)

    def join(self, network: nn.Module) -> None:
        """Give the layers of a network the parameters that theirs were set to."""
        if not self._set:
            return
        for module in network.modules():
            for name, parameter in list(module._parameters.items()):
                weight: Parameter | Part | None = parameter
                while isinstance(weight, Parameter) and weight in self._set:
                    weight = self._set[weight]
                if weight is not parameter:
                    set_weight(module, name, weight)

    def take(self, base: Tensor, tensor: Tensor) -> None:
        """Note that a parameter has this part of a tensor that is none itself."""
        first = int(tensor.storage_offset())
        last = first + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        if base not in self._taken:
            self._taken[base] = []
        taken: list[tuple[int, int]] = self._taken[base]
        if any(first <= end and begin <= last for begin, end in taken):
            _refuse()
        taken.append((first, last))

    def _of_whole(self, tensor: Tensor) -> Parameter:
        if isinstance(tensor, Parameter):
            return tensor
        if tensor not in self._parameters:
            if tensor in self._taken:
                _refuse()
            self._parameters[tensor] = Parameter(tensor.detach().to(torch.get_default_dtype()))
        found: Parameter = self._parameters[tensor]
        return found


def _refuse() -> None:
    raise ValueError(
        "two layers get parts of one tensor that overlap, and it belongs to no layer as a whole: give the whole tensor to "
        "one layer first, and then its parts to the others, as in decoder.weight = encoder.weight:t()"
    )


def _lies_as(tensor: Tensor, other: Tensor) -> bool:
    return (tensor.shape, tensor.stride(), tensor.storage_offset()) == (
        other.shape,
        other.stride(),
        other.storage_offset(),
    )


def parts_of(module: nn.Module) -> Mapping[str, Part]:
    """What a layer has of others' parameters, by the names of its own."""
    parts: Mapping[str, Part] = vars(module).get("shared_parts", {})
    return parts


def set_weight(module: nn.Module, name: str, weight: Parameter | Part | None) -> None:
    """Give a layer a parameter, a part of another's, or none."""
    parts = {other: part for other, part in parts_of(module).items() if other != name}
    if isinstance(weight, Part):
        module._parameters.pop(name, None)
        parts[name] = weight
    kind = vars(type(module)).get("kind_without_parts", type(module))
    module.__class__ = _with_parts(kind, tuple(parts)) if parts else kind
    if parts or parts_of(module):
        module.shared_parts = parts  # type: ignore[assignment]
    if not isinstance(weight, Part):
        setattr(module, name, weight)


@cache
def _with_parts(kind: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    """The class with some parameters that are computed at every use, so that gradients go to the whole."""
    made = {name: property(lambda module, part=name: parts_of(module)[part].tensor()) for name in names}  # type: ignore[misc]
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "kind_without_parts": kind, **made})
