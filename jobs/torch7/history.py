"""What a text of Lua does that draws or changes weights, in its order: what the same network in Python has to do again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

# Methods of Torch's tensors that change a whole tensor, and PyTorch's functions that do the same to a parameter.
INITIALIZERS = {"fill": "constant_", "zero": "zeros_", "normal": "normal_", "uniform": "uniform_"}
CHANGES = frozenset({*INITIALIZERS, "add", "bernoulli", "copy", "div", "mul"})


@dataclass(frozen=True)
class Made:
    """A module was made: its weights were drawn."""

    module: nn.Module


@dataclass(frozen=True)
class Copied:
    """A module was made as a copy of another, as that was then."""

    module: nn.Module
    original: nn.Module


@dataclass(frozen=True)
class DrawnAnew:
    """`module:reset(std)`."""

    module: nn.Module
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Flattened:
    """`getParameters()` put all of them into one tensor."""

    flat: Tensor
    parameters: list[Parameter]


@dataclass(frozen=True)
class Changed:
    """A method of CHANGES was called on a tensor that may be a weight, or see one."""

    tensor: Tensor
    # Where its values lay then.
    address: int
    method: str
    arguments: tuple[Any, ...]

    def is_of(self, tensor: Tensor) -> bool:
        """Whether all values of this tensor were changed, and no others."""
        is_same_memory = self.address == tensor.data_ptr() and self.tensor.is_contiguous()
        return self.tensor is tensor or (is_same_memory and self.tensor.numel() == tensor.numel())


Step = Made | Copied | DrawnAnew | Flattened | Changed


@dataclass
class History:
    """All of it, for a text that is run once. It keeps what it names alive."""

    steps: list[Step] = field(default_factory=list)
    is_fine_tuned: bool = False
    # The first and the last line of labelHook.
    hook_lines: tuple[int, int] | None = None

    def tensor_method(self, name: str, arguments: Sequence[Any]) -> None:
        if name in CHANGES and arguments and isinstance(arguments[0], Tensor) and math.prod(arguments[0].shape):
            tensor, *given = arguments
            self.steps.append(Changed(tensor, tensor.data_ptr(), name, tuple(given)))

    def module_method(self, module: nn.Module, name: str, arguments: Sequence[Any]) -> None:
        if name == "reset":
            self.steps.append(DrawnAnew(module, tuple(arguments)))
