"""Show the Python: a network in Lua as a text of Python, tried beside the Lua to see whether both are the same."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jobs.building import check_network, cropped_shape, made_up_batch
from jobs.comparing import compare
from jobs.errors import BadNetwork
from jobs.networks.contract import Network, NetworkParams, build_network
from jobs.networks.names import image_shape_name
from jobs.torch7.contract import build_lua_network
from jobs.torch7.history import History
from jobs.torch7.hook_text import HookLooksAtValues, hook_text, hook_to_write
from jobs.torch7.python_text import Note, Passes, PythonWriter, lines_of_text
from jobs.torch7.twins import CannotWrite, Pass

SEED = 1
# Their steps, or their learning rates, follow another rule in Torch7 than in PyTorch.
SOLVERS_THAT_DIFFER = ("ADADELTA", "ADAM", "NESTEROV", "RMSPROP")


@dataclass(frozen=True)
class PythonOfLua:
    """`is_same` when the Python was run and gave the weights, outputs, loss and gradients of the Lua, bit for bit."""

    python: str
    notes: list[Note]
    is_same: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Question:
    """Images and labels as the dataset has them."""

    image_shape: Sequence[int]
    label_shape: Sequence[int]
    crop_size: int | None = None
    n_classes: int | None = None
    solver: str | None = None

    @property
    def params(self) -> NetworkParams:
        return NetworkParams(cropped_shape(self.image_shape, self.crop_size), self.n_classes)


def show_python(text: str, question: Question) -> PythonOfLua:
    """The Python of a text in Lua; BadNetwork where the Lua itself does not work."""
    history = History()
    torch.manual_seed(SEED)
    network = build_lua_network(text, question.params, history=history)
    seen_shape = cropped_shape(question.image_shape, question.crop_size or network.crop_size)
    check_network(network, seen_shape, question.label_shape)
    try:
        hook, missing = hook_text(network, seen_shape, question.label_shape), []
    except CannotWrite as error:
        hook = hook_to_write(lines_of_text(text, history.hook_lines))
        line = error.line if isinstance(error, HookLooksAtValues) else None
        missing = [Note(f"{error}: write the function label_hook by hand.", line)]
    writer = PythonWriter(text, network, history, _passes(network, seen_shape, question.label_shape))
    try:
        python = writer.text(hook, image_shape_name(seen_shape))
    except CannotWrite as error:
        raise BadNetwork(f"This network cannot be written as Python: it has {error}.") from error
    notes = [*missing, *writer.notes]
    if question.solver in SOLVERS_THAT_DIFFER:
        notes.append(
            Note(f"{question.solver} goes by Torch7's rule for Lua and by PyTorch's for Python: curves differ.")
        )
    if missing or not writer.is_complete:
        return PythonOfLua(python, notes, is_same=False)
    differences = compare(
        lambda: build_lua_network(text, question.params),
        lambda: build_network(python, question.params),
        seen_shape,
        question.label_shape,
    )
    return PythonOfLua(python, [*notes, *map(Note, differences)], is_same=not differences)


def _passes(network: Network, image_shape: Sequence[int], label_shape: Sequence[int]) -> Passes:
    """What goes through each module, and to the loss."""
    passes: dict[nn.Module, list[Pass]] = defaultdict(list)

    def note(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        tensors = [*given, output]
        if all(isinstance(tensor, Tensor) for tensor in tensors) and len(given) == 1:
            passes[module].append(Pass(tuple(given[0].shape), tuple(output.shape)))

    handles = [module.register_forward_hook(note) for module in network.model.modules()]
    try:
        images, labels = made_up_batch(network, image_shape, label_shape, torch.device("cpu"))
        with _left_alone(network):
            output, target = network.model(images), network.label_hook(images, labels)
    finally:
        for handle in handles:
            handle.remove()
    if isinstance(network.loss, nn.Module) and isinstance(output, Tensor) and isinstance(target, Tensor):
        passes[network.loss].append(Pass(tuple(output.shape), tuple(target.shape)))
    return passes


@contextmanager
def _left_alone(network: Network) -> Iterator[None]:
    """Random numbers and buffers are afterwards as they were."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.model.buffers()]
    with torch.random.fork_rng([]):
        yield
    with torch.no_grad():
        for buffer, kept in buffers:
            buffer.copy_(kept)
