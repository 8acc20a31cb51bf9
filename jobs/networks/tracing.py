"""Hooks that note every layer that a forward pass goes through: in which order, fed by whom, giving what."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.conv import _ConvNd

NETWORK_INPUT = -1


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer. A layer that is called twice, such as a shared ReLU, is two calls.

    `outputs` are copies: a later layer that works in place does not change them. `inputs` are the indices of the calls
    that feed this one, or NETWORK_INPUT; without gradients, a function between two layers makes them a guess.
    """

    index: int
    path: str
    module: nn.Module
    inputs: tuple[int, ...]
    outputs: tuple[Tensor, ...]
    is_guess: bool = False


@dataclass
class RunningModule:
    """A module whose forward has begun; after a fault, the last of these is where it happened."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    called_others: bool = False


@dataclass
class Trace:
    """The calls of one forward pass so far.

    A layer is a module that calls no other module while it runs; so nn.MultiheadAttention is one, and Sequential none.
    """

    paths: dict[nn.Module, str]
    calls: list[LayerCall] = field(default_factory=list)
    running: list[RunningModule] = field(default_factory=list)
    # Tensors are kept with their producers, so that no id is used twice while the trace lives.
    _producers: dict[int, tuple[int, Tensor]] = field(default_factory=dict)
    _producing_nodes: dict[Node, int] = field(default_factory=dict)

    def feed(self, images: Tensor) -> None:
        """Say which tensor is the network's input."""
        self._note_producer(NETWORK_INPUT, images)

    def begin(self, module: nn.Module, inputs: Any) -> None:
        if self.running:
            self.running[-1].called_others = True
        self.running.append(RunningModule(module, tuple(tensors_in(inputs))))

    def end(self, module: nn.Module, output: Any) -> None:
        run = self.running.pop()
        if run.called_others:
            return
        outputs = tuple(tensors_in(output))
        index = len(self.calls)
        copies = tuple(tensor.detach().clone() for tensor in outputs)
        feeders = self._feeders(run.inputs)
        # A function between two layers that hides where its values come from: most likely the layer before.
        inputs = feeders or (index - 1,)
        self.calls.append(LayerCall(index, self.paths.get(module, ""), module, inputs, copies, not feeders))
        for tensor in outputs:
            self._note_producer(index, tensor)

    def _note_producer(self, index: int, tensor: Tensor) -> None:
        self._producers[id(tensor)] = (index, tensor)
        if tensor.grad_fn is not None:
            self._producing_nodes[tensor.grad_fn] = index

    def _feeders(self, inputs: tuple[Tensor, ...]) -> tuple[int, ...]:
        found: set[int] = set()
        for tensor in inputs:
            if id(tensor) in self._producers:
                found.add(self._producers[id(tensor)][0])
            else:
                found |= self._feeders_through_functions(tensor)
        return tuple(sorted(found))

    def _feeders_through_functions(self, tensor: Tensor) -> set[int]:
        """Back along autograd's graph, through the cat, + or view between two layers, to the layers themselves."""
        found: set[int] = set()
        ahead = [tensor.grad_fn] if tensor.grad_fn is not None else []
        seen = set(ahead)
        while ahead:
            node = ahead.pop()
            if node in self._producing_nodes:
                found.add(self._producing_nodes[node])
                continue
            fresh = [before for before, _ in node.next_functions if before is not None and before not in seen]
            seen.update(fresh)
            ahead.extend(fresh)
        return found


@contextmanager
def traced(model: nn.Module) -> Iterator[Trace]:
    """Trace the forward pass that the block runs. The edges are exact when the pass records gradients."""
    trace = Trace({module: path for path, module in model.named_modules()})
    handles = []
    for module in trace.paths:
        handles.append(
            module.register_forward_pre_hook(
                lambda module, args, kwargs: trace.begin(module, (args, kwargs)), with_kwargs=True
            )
        )
        handles.append(module.register_forward_hook(lambda module, args, output: trace.end(module, output)))
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


def find_code(calls: Sequence[LayerCall], input_values: int) -> LayerCall | None:
    """The layer where the network is narrowest; None when none inside it is narrower than its input.

    Of several that are equally narrow the first that has weights is the code: the ReLU after it only cuts it.
    """
    inner = inner_calls(calls)
    narrowest = min(map(_values_an_image, inner), default=input_values)
    if narrowest >= input_values:
        return None
    ties = [call for call in inner if _values_an_image(call) == narrowest]
    return next((call for call in ties if isinstance(call.module, nn.Linear | _ConvNd)), ties[0])


def inner_calls(calls: Sequence[LayerCall]) -> Sequence[LayerCall]:
    """The calls without those at the end that have as many values as the output: they are the output."""
    end = len(calls)
    while end and _values_an_image(calls[end - 1]) == _values_an_image(calls[-1]):
        end -= 1
    return calls[:end]


def _values_an_image(call: LayerCall) -> int:
    return sum(math.prod(output.shape[1:]) for output in call.outputs)
