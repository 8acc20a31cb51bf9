"""Names of layers and shapes as a person reads them: `nn.Linear(784 → 300)`, `1×28×28`."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

LONGEST = 40


@runtime_checkable
class DescribesItself(Protocol):
    """A layer with a name of its own, as those of Torch7 have."""

    def described(self) -> str: ...


def times(sides: Iterable[int | None]) -> str:
    return "×".join("?" if side is None else str(side) for side in sides)


def image_shape_name(shape: Iterable[int]) -> str:
    """The shape of what one image becomes, in words where it has no sides."""
    return times(shape) or "one number"


def layer_name(module: nn.Module) -> str:
    """What the layer is called in tables, graphs and errors."""
    if isinstance(module, DescribesItself):
        return module.described().partition("\n")[0].removesuffix(" {")
    kind = type(module)
    prefix = "nn." if kind.__module__.startswith("torch.nn.") else ""
    arguments = _arguments(module)
    return f"{prefix}{kind.__name__}({arguments})" if arguments else f"{prefix}{kind.__name__}"


def _arguments(module: nn.Module) -> str:
    for kind, describe in ARGUMENTS.items():
        if isinstance(module, kind):
            return describe(module)
    said = module.extra_repr()
    return said if len(said) <= LONGEST and "\n" not in said else ""


def _convolution(module: Any) -> str:
    parts = [f"{module.in_channels} → {module.out_channels}", times(module.kernel_size)]
    if set(module.stride) != {1}:
        parts.append(f"stride {_short(module.stride)}")
    if module.padding and set(module.padding) != {0}:
        parts.append(f"padding {_short(module.padding)}")
    return ", ".join(parts)


def _pooling(module: Any) -> str:
    # A single side stands for a square.
    size = module.kernel_size
    parts = [
        times(size) if isinstance(size, tuple) else f"{size}×{size}" if "2d" in type(module).__name__ else str(size)
    ]
    if module.stride not in (None, size):
        parts.append(f"stride {_short(module.stride)}")
    return ", ".join(parts)


def _adaptive(module: Any) -> str:
    size = module.output_size
    return times(size) if isinstance(size, tuple) else str(size)


def _unflatten(module: Any) -> str:
    shape = module.unflattened_size
    return f"{module.dim} → {times(shape)}" if all(isinstance(side, int) for side in shape) else str(module.dim)


def _short(value: Any) -> str:
    if isinstance(value, str | int):
        return str(value)
    return str(value[0]) if len(set(value)) == 1 else times(value)


# The first entry that fits is taken.
ARGUMENTS: dict[type[Any], Callable[[Any], str]] = {
    nn.Linear: lambda module: f"{module.in_features} → {module.out_features}",
    _ConvNd: _convolution,
    _MaxPoolNd: _pooling,
    _AvgPoolNd: _pooling,
    _AdaptiveAvgPoolNd: _adaptive,
    _AdaptiveMaxPoolNd: _adaptive,
    _NormBase: lambda module: str(module.num_features),
    _DropoutNd: lambda module: f"{module.p:g}",
    nn.Embedding: lambda module: f"{module.num_embeddings} → {module.embedding_dim}",
    nn.RNNBase: lambda module: f"{module.input_size} → {module.hidden_size}",
    nn.Unflatten: _unflatten,
    nn.Flatten: lambda module: "",
    nn.ReLU: lambda module: "",
}
