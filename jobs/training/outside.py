"""What a network keeps from step to step beside its parameters and buffers, as code of a person's own may."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from jobs.networks.contract import Network
from jobs.training.plain_values import CannotBeKept, Owned, Part, Putter, Shared, Taker, is_computed
from jobs.training.text_values import TextValues, modules_of

# Attributes that every module has are torch's own.
ATTRIBUTES_OF_TORCH = frozenset(vars(nn.Module()))

# Beside the names of modules, which begin with model or loss: what values consist of, what the text keeps, the buffers that
# are not among a module's weights, and which parameters learn.
NODES, OF_TEXT, BUFFERS, LEARNS = "nodes", "text", "buffers", "learns"
# Containers and tensors of one attribute, where the training waits: more would take longer than a frame may.
MOST_PARTS = 10_000

State = dict[str, Any]


def attributes_of(network: Network) -> State:
    """What the modules of a network and its loss have as attributes, where tensors and plain values can say it, and what its
    text keeps where that can be known."""
    taker = Taker(owned_by(network), Shared(TextValues(network).variables()))
    state: State = {}
    for name, module in modules_of(network):
        if kept := dict(_kept(taker, module)):
            state[name] = kept
        for key in module._non_persistent_buffers_set:
            if (buffer := module._buffers.get(key)) is not None:
                state.setdefault(BUFFERS, {})[f"{name}.{key}"] = buffer.detach().clone()
    if network.kept is not None:
        state[OF_TEXT] = network.kept.take()
    else:
        state[LEARNS] = {name: parameter.requires_grad for name, parameter in _parameters(network)}
    return {**state, NODES: taker.nodes}


def _kept(taker: Taker, module: nn.Module) -> Iterator[tuple[str, Part]]:
    for key, value in list(vars(module).items()):
        if key not in ATTRIBUTES_OF_TORCH:
            try:
                yield key, taker.take_or_raise(value)
            except CannotBeKept:
                continue


def what_is_left_out(network: Network) -> tuple[dict[str, Any], Taker]:
    """The attributes that no snapshot holds and no pass makes anew, by names for a person, and what knows the values that
    one does."""
    taker = Taker(owned_by(network), copies=False, most=MOST_PARTS)
    found = {}
    for name, module in modules_of(network):
        kept = {key for key, _ in _kept(taker, module)}
        for key, value in vars(module).items():
            if key not in ATTRIBUTES_OF_TORCH and key not in kept and not is_computed(value):
                found[f"{key} of {name}"] = value
    return found, taker


def set_attributes(network: Network, state: State) -> None:
    """Make them what they were when `attributes_of` was asked."""
    for name, module in modules_of(network):
        for key in module._non_persistent_buffers_set:
            buffer, kept = module._buffers.get(key), state.get(BUFFERS, {}).get(f"{name}.{key}")
            if kept is not None:
                module._buffers[key] = _buffer_with(buffer, kept)
    # When all buffers are what they were: attributes may be these, or parts of them.
    putter = Putter(state.get(NODES, []), owned_by(network), Shared(TextValues(network).variables()))
    for name, module in modules_of(network):
        for key, part in state.get(name, {}).items():
            vars(module)[key] = putter.put(part, vars(module).get(key))
    for name, parameter in _parameters(network):
        parameter.requires_grad_(state.get(LEARNS, {}).get(name, parameter.requires_grad))
    if network.kept is not None and OF_TEXT in state:
        network.kept.put_back(state[OF_TEXT])


def _buffer_with(buffer: Tensor | None, kept: Tensor) -> Tensor:
    """The same buffer where it can take the values: others may hold it, too."""
    if buffer is None or buffer.shape != kept.shape:
        return kept
    with torch.no_grad():
        return buffer.copy_(kept)


def _parameters(network: Network) -> Iterator[tuple[str, nn.Parameter]]:
    for name, module in modules_of(network):
        for key, parameter in module.named_parameters(recurse=False):
            yield f"{name}.{key}", parameter


def owned_by(network: Network) -> Owned:
    return Owned(modules_of(network))


class ModulesState:
    """The attributes of modules, what these hold, and the values of their buffers, as they were at one moment.

    What functions and objects of somebody's class hold is not in it, nor what very large structures do.
    """

    def __init__(self, *roots: nn.Module) -> None:
        self._roots = [(root, root.training) for root in roots]
        modules = list({module: None for root in roots for module in root.modules()})
        self._owned = Owned((str(number), module) for number, module in enumerate(modules))
        self._attributes = [(module, dict(vars(module))) for module in modules]
        taker = Taker(self._owned, most=MOST_PARTS)
        self._kept = [(module, dict(_kept(taker, module))) for module in modules]
        self._nodes = taker.nodes
        self._buffers = [
            (module, name, buffer, buffer.detach().clone())
            for module in modules
            for name, buffer in module._buffers.items()
            if buffer is not None and not is_lazy(buffer)
        ]

    def put_back_computed(self) -> None:
        """What was computed of weights, alone: a snapshot would take what a pass without gradients left for it."""
        for module, before in self._attributes:
            vars(module).update({key: value for key, value in before.items() if is_computed(value)})

    def put_back(self) -> None:
        try:
            for root, was_training in self._roots:
                # By the model's own way first, which may do more than set a flag.
                root.train(was_training)
        finally:
            for module, before in self._attributes:
                vars(module).clear()
                vars(module).update(before)
            putter = Putter(self._nodes, self._owned)
            for module, kept in self._kept:
                for key, part in kept.items():
                    vars(module)[key] = putter.put(part, vars(module)[key])
            with torch.no_grad():
                for module, name, buffer, values in self._buffers:
                    buffer.copy_(values)
                    module._buffers[name] = buffer


class NetworkState:
    """All that a pass through a network and its loss may change, but for random numbers, as it was at one moment."""

    def __init__(self, network: Network) -> None:
        self._network = network
        parts = [part for part in (network.model, network.loss) if isinstance(part, nn.Module)]
        self._modules = ModulesState(*parts)
        self._of_text = None if network.kept is None else network.kept.take()

    def put_back_computed(self) -> None:
        self._modules.put_back_computed()

    def put_back(self) -> None:
        self._modules.put_back()
        if self._network.kept is not None and self._of_text is not None:
            self._network.kept.put_back(self._of_text)
