"""What a network keeps from step to step beside its parameters and buffers, as code of a person's own may."""

import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from jobs.networks.contract import MODULE_NAME, Network

# Attributes that every module has are torch's own.
ATTRIBUTES_OF_TORCH = frozenset(vars(nn.Module()))
PLAIN = (int, float, bool, str, type(None))
# What a module computed last may be an attribute, too, and needs no keeping.
MOST_NUMBERS = 65_536
LONGEST = 1000

State = dict[str, dict[str, Any]]


def attributes_of(network: Network) -> State:
    """The plain values and small tensors that the modules of a network and its loss have as attributes."""
    state = {
        name: {key: value for key, value in vars(module).items() if _is_kept(key, value)}
        for name, module in _modules(network)
    }
    return {name: kept for name, kept in state.items() if kept}


def set_attributes(network: Network, state: State) -> None:
    """Make them what they were when `attributes_of` was asked."""
    for name, module in _modules(network):
        for key, value in state.get(name, {}).items():
            present = vars(module).get(key)
            if isinstance(value, Tensor) and isinstance(present, Tensor) and present.shape == value.shape:
                # In its place: others may hold the same tensor.
                with torch.no_grad():
                    present.copy_(value)
            else:
                vars(module)[key] = value


def _modules(network: Network) -> Iterator[tuple[str, nn.Module]]:
    yield from network.model.named_modules(prefix="model")
    if isinstance(network.loss, nn.Module):
        yield from network.loss.named_modules(prefix="loss")


def _is_kept(key: str, value: Any) -> bool:
    if key in ATTRIBUTES_OF_TORCH:
        return False
    if isinstance(value, Tensor):
        return value.grad_fn is None and not value.requires_grad and value.numel() <= MOST_NUMBERS
    return type(value) in PLAIN


class OutsideWatch:
    """Notices what a text in Python keeps outside of modules and changes while it trains: no snapshot holds that."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._at_first = self._look()

    def changed(self) -> list[str]:
        """The names of what is not as it was at first, each told once."""
        now = self._look()
        names = sorted(name for name, text in self._at_first.items() if now.get(name) != text)
        for name in names:
            del self._at_first[name]
        return names

    def _look(self) -> dict[str, str]:
        """How the plain values look that its functions can reach: globals, and variables of functions around them."""
        if self._network.framework != "pytorch":
            return {}
        found = dict(vars(sys.modules[MODULE_NAME])) if MODULE_NAME in sys.modules else {}
        for function in (self._network.label_hook, self._network.loss):
            if isinstance(function, FunctionType) and function.__closure__:
                cells = zip(function.__code__.co_freevars, function.__closure__, strict=True)
                found |= {name: cell.cell_contents for name, cell in cells}
        return {name: repr(value) for name, value in found.items() if not name.startswith("__") and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | set):
        return len(value) <= LONGEST and all(type(part) in PLAIN for part in value)
    if isinstance(value, dict):
        return len(value) <= LONGEST and all(type(part) in PLAIN for part in (*value, *value.values()))
    return type(value) in PLAIN
