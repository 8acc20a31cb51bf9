"""The label hook of a network in Lua as a function of Python: what it does to tensors, written down while it runs.

A hook computes with tensors only, so it is run on two batches of noise, and each call that reaches PyTorch becomes a
line. Numbers that are the size of the batch differ between the two and become `len(input)`. A hook that looks at
values, as in `if label[1] == 3`, has no such form.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from jobs.building import made_up_batch
from jobs.errors import BadNetwork
from jobs.networks.contract import Network
from jobs.torch7.twins import CannotWrite, literal, to_write

NAME = "label_hook"
# Two primes: a number that is a multiple of one in the first run and of the other in the second counts images.
BATCHES = (3, 5)
OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "gt": ">",
    "lt": "<",
    "ge": ">=",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
}
# Of a slice that goes to the end.
NO_END = str(2**63 - 1)


class HookLooksAtValues(CannotWrite):
    """The hook does more than compute with tensors."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def hook_text(network: Network, image_shape: Sequence[int], label_shape: Sequence[int]) -> str:
    """A function `label_hook(input, label)`; "" for one that gives the label itself. CannotWrite where there is none."""
    graphs = [_traced(network, count, image_shape, label_shape) for count in BATCHES]
    lines = _HookWriter(*graphs).lines()
    if lines == ["return label"]:
        return ""
    return "\n".join([f"def {NAME}(input, label):", *(f"    {line}" for line in lines)])


def hook_to_write(lua: Sequence[str]) -> str:
    """A function that a person has to write, with the lines of the Lua in it."""
    return to_write(f"def {NAME}(input, label):", lua, "labelHook")


def _traced(network: Network, count: int, image_shape: Sequence[int], label_shape: Sequence[int]) -> fx.Graph:
    """What the hook does to a batch after the network was run on it, since it may look at what layers gave.

    Values are others for each size of batch: what depends on them shows in the difference.
    """
    images, labels = made_up_batch(network, image_shape, label_shape, count=count, seed=count)
    if not label_shape and count != BATCHES[0]:
        # Of the first two classes, which every hook has; before, of the first alone.
        labels = labels + torch.arange(count) % 2
    try:
        with torch.random.fork_rng([]):
            with torch.no_grad():
                network.model(images.clone())
            module = make_fx(network.label_hook)(images, labels)
    except BadNetwork as error:
        if "tracing tensor" in str(error):
            raise HookLooksAtValues("labelHook looks at the values of a tensor", error.line) from error
        raise HookLooksAtValues(f"labelHook fails on a batch of {count} images ({error})", error.line) from error
    except (RuntimeError, ValueError) as error:
        raise HookLooksAtValues(f"labelHook cannot be followed on a batch of {count} images ({error})") from error
    module.graph.eliminate_dead_code()
    return module.graph


class _HookWriter:
    def __init__(self, first: fx.Graph, second: fx.Graph) -> None:
        self._pairs = list(zip(first.nodes, second.nodes, strict=False))
        if [node.target for node in first.nodes] != [node.target for node in second.nodes]:
            raise HookLooksAtValues("labelHook does something else with each size of batch")
        self._owners = [first.owning_module, second.owning_module]
        self._names: dict[fx.Node, str] = {}

    def lines(self) -> list[str]:
        lines: list[str] = []
        inputs = iter(("input", "label"))
        for node, other in self._pairs:
            if node.op == "placeholder":
                self._names[node] = next(inputs)
            elif node.op == "get_attr":
                self._names[node] = self._constant(str(node.target))
            elif node.op == "output":
                lines.append(f"return {self._value(node.args[0], other.args[0])}")
            elif node.target in (torch.ops.aten.detach.default, torch.ops.aten.alias.default,
                                 torch.ops.aten.lift_fresh_copy.default):  # fmt: skip
                self._names[node] = self._names[node.args[0]]
            else:
                self._write_call(node, other, lines)
        return lines

    def _constant(self, name: str) -> str:
        value, other = (getattr(owner, name) for owner in self._owners)
        if not isinstance(value, Tensor) or isinstance(value, torch.nn.Parameter):
            raise HookLooksAtValues("labelHook uses the network's own weights")
        if value.shape != other.shape or not torch.equal(value, other):
            raise HookLooksAtValues("labelHook depends on more than what the tensors that it gets hold")
        return literal(value)

    def _write_call(self, node: fx.Node, other: fx.Node, lines: list[str]) -> None:
        arguments = [self._argument(node, *pair) for pair in zip(node.args, other.args, strict=True)]
        keywords = {name: self._value(value, other.kwargs[name]) for name, value in node.kwargs.items()}
        expression = _expression(node, arguments, keywords)
        if not node.users:
            # It is there for what it does to its first argument.
            lines.append(expression)
        elif _may_stand_within(node):
            self._names[node] = expression
        else:
            self._names[node] = node.name.strip("_")
            lines.append(f"{self._names[node]} = {expression}")

    def _argument(self, node: fx.Node, first: Any, second: Any) -> str:
        """With parentheses where the call would else be one of a part of it."""
        value = self._value(first, second)
        is_operation = (
            isinstance(first, fx.Node) and _operator(first) and value not in (first.name, first.name.strip("_"))
        )
        return f"({value})" if is_operation and (_operator(node) or first is node.args[0]) else value

    def _value(self, first: Any, second: Any) -> str:
        if isinstance(first, fx.Node):
            return self._names[first]
        if isinstance(first, list | tuple):
            return f"[{', '.join(self._value(*pair) for pair in zip(first, second, strict=True))}]"
        if isinstance(first, dict):
            parts = (f"{name!r}: {self._value(part, second[name])}" for name, part in first.items())
            return f"{{{', '.join(parts)}}}"
        if isinstance(first, torch.dtype | torch.memory_format):
            return str(first)
        if isinstance(first, torch.device):
            return "input.device"
        return literal(first) if first == second else _images_counted(first, second)


def _images_counted(first: Any, second: Any) -> str:
    if not isinstance(first, int) or not isinstance(second, int):
        raise HookLooksAtValues("labelHook looks at the values of a tensor")
    counted = [divmod(number, count) for number, count in zip((first, second), BATCHES, strict=True)]
    if len(set(counted)) != 1 or counted[0][1]:
        raise HookLooksAtValues("labelHook does something else with each size of batch")
    times = counted[0][0]
    return "len(input)" if times == 1 else f"{times} * len(input)"


def _may_stand_within(node: fx.Node) -> bool:
    """Whether a call can be written where its result is used, since nothing between the two depends on the order."""
    if len(node.users) != 1 or _has_effect(node):
        return False
    (user,) = node.users
    between = node.next
    while between is not user:
        if _has_effect(between):
            return False
        between = between.next
    return True


def _has_effect(node: fx.Node) -> bool:
    """Whether a call changes a tensor, or takes from the random numbers."""
    operation = node.target
    if not isinstance(operation, torch._ops.OpOverload):
        return False
    return operation._schema.is_mutable or torch.Tag.nondeterministic_seeded in operation.tags


def _operator(node: fx.Node) -> str | None:
    return OPERATORS.get(_name(node)) if len(node.args) == 2 and not node.kwargs else None


def _name(node: fx.Node) -> str:
    """Of PyTorch's operator: "add" for aten.add.Tensor. Of what takes a part of its answer: "getitem"."""
    return node.target.__name__ if node.target is operator.getitem else str(node.target).split(".")[1]


def _expression(node: fx.Node, arguments: list[str], keywords: dict[str, str]) -> str:
    """The call of one of PyTorch's operators as people write it."""
    name = _name(node)
    keywords.pop("pin_memory", None)
    if name in SPECIAL:
        return SPECIAL[name](arguments, keywords)
    if sign := _operator(node):
        return f"{arguments[0]} {sign} {arguments[1]}"
    if node.args and isinstance(node.args[0], fx.Node) and hasattr(Tensor, name):
        return _called(f"{arguments[0]}.{name}", arguments[1:], keywords)
    function = f"torch.{name}" if hasattr(torch, name) else f"torch.ops.{node.target}"
    return _called(function, arguments, keywords)


def _called(function: str, arguments: list[str], keywords: dict[str, str]) -> str:
    return f"{function}({', '.join([*arguments, *(f'{name}={value}' for name, value in keywords.items())])})"


def _converted(arguments: list[str], keywords: dict[str, str]) -> str:
    return _called(f"{arguments[0]}.to", [keywords["dtype"]] if "dtype" in keywords else [], {})


def _cloned(arguments: list[str], keywords: dict[str, str]) -> str:
    return f"{arguments[0]}.{'contiguous' if 'torch.contiguous_format' in keywords.values() else 'clone'}()"


def _sliced(arguments: list[str], keywords: dict[str, str]) -> str:
    tensor, along, first, last, *step = [*arguments, *["0", "0", NO_END][len(arguments) - 1 :]]
    ends = [first if first != "0" else "", last if last != NO_END else "", *step]
    return f"{tensor}[{':, ' * int(along)}{':'.join(ends)}]"


SPECIAL: dict[str, Callable[[list[str], dict[str, str]], str]] = {
    "_to_copy": _converted,
    "clone": _cloned,
    "slice": _sliced,
    "getitem": lambda arguments, keywords: f"{arguments[0]}[{arguments[1]}]",
}
