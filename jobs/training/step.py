"""One step of a training: forward, backward, update. On a GPU it is captured once, and then replayed without Python."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from jobs.networks.contract import Network, first_line, is_memory_fault

# Operations whose result has a place or a size in Python that depends on values.
VALUE_DEPENDENT = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}

Precision = Callable[[], AbstractContextManager[Any]]


class Step(Protocol):
    """Learns from a batch that is on the device, and gives its loss, which stays there and holds until the next step."""

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor: ...


def precision_of(name: Literal["float32", "bfloat16"], device: torch.device) -> Precision:
    """What forward passes and losses are computed within. Weights and the solver are float32 always."""
    if name == "float32":
        return nullcontext
    # Without the cache of cast weights: a captured graph would go on with those of its first step.
    return partial(torch.autocast, device.type, dtype=torch.bfloat16, cache_enabled=False)


def may_be_recorded(network: Network) -> bool:
    """Whether no part of the network, or of its loss, does what a recording of a step would not see."""
    owners = [owner for owner in (network.model, network.loss) if isinstance(owner, nn.Module)]
    return all(getattr(part, "capturable", True) for owner in owners for part in owner.modules())


class EagerStep:
    """The step as Python runs it."""

    def __init__(self, network: Network, optimizer: Optimizer, precision: Precision) -> None:
        self.network = network
        self.optimizer = optimizer
        self.parameters: list[nn.Parameter] = [
            parameter for group in optimizer.param_groups for parameter in group["params"]
        ]
        self._precision = precision
        # A solver may ask for the gradient of another place than where the weights are between steps.
        self._looking_ahead: Callable[[], AbstractContextManager[Any]] = getattr(
            optimizer, "looking_ahead", nullcontext
        )

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        with self._looking_ahead():
            return self._learn(images, labels)

    def _learn(self, images: Tensor, labels: Tensor) -> Tensor:
        network = self.network
        with self._precision():
            output = network.model(images)
            # Some losses give one number as a vector of one.
            loss = network.loss(output, network.label_hook(images, labels)).reshape(())
        # As zero_grad does it, less what that costs at every step.
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()


class CapturedStep:
    """The step as a CUDA graph: the GPU runs all of it at one call, where Python would launch a hundred kernels.

    The first steps run eagerly and are watched. When they do not all do the same, or the capture fails, the steps go on
    eagerly, and `say` gets the sentence why. So does every batch of another size, such as the last of an epoch.
    """

    def __init__(self, eager: EagerStep, batch_size: int, device: torch.device, say: Callable[[str], None]) -> None:
        self._eager = eager
        self._batch_size = batch_size
        self._say = say
        self._watched = StepWatch(eager, device)
        self._is_given_up = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._gradients_are_ours = True

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        if self._is_given_up:
            return self._eager(images, labels)
        if len(images) != self._batch_size:
            return self._run_beside(images, labels)
        if self._graph is None:
            if not self._watched.is_done:
                return self._warm_up(images, labels)
            self._capture(images, labels)
            if self._graph is None:
                return self._eager(images, labels)
        return self._replay(self._graph, images, labels)

    def _warm_up(self, images: Tensor, labels: Tensor) -> Tensor:
        # As a capture asks for it: on a stream of its own, so that nothing of autograd is bound to the default one.
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            loss = self._watched(images, labels)
        torch.cuda.current_stream().wait_stream(side)
        if self._watched.difference:
            self._give_up(self._watched.difference)
        return loss

    def _capture(self, images: Tensor, labels: Tensor) -> None:
        """Record the kernels of one step. Nothing is computed meanwhile, and no weight changes."""
        self._images, self._labels = images.clone(), labels.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            # A capture that fails may leave its stream as the current one: the outer context puts it back.
            # Thread-local: the thread that draws layers may copy from the GPU meanwhile.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                self._loss = self._eager(self._images, self._labels)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the user's code runs here; eager steps show what is wrong
            self._give_up(f"it cannot be captured ({first_line(_first_fault(error))})")
            return
        self._gradients = [parameter.grad for parameter in self._eager.parameters]
        self._graph = graph
        self._say("Each step runs as one CUDA graph.")

    def _replay(self, graph: torch.cuda.CUDAGraph, images: Tensor, labels: Tensor) -> Tensor:
        self._images.copy_(images)
        self._labels.copy_(labels)
        graph.replay()
        if not self._gradients_are_ours:
            # An eager step between left its own.
            for parameter, gradient in zip(self._eager.parameters, self._gradients, strict=True):
                parameter.grad = gradient
            self._gradients_are_ours = True
        return self._loss

    def _run_beside(self, images: Tensor, labels: Tensor) -> Tensor:
        """An eager step between replays. Where there is no memory for both, the graph goes."""
        self._gradients_are_ours = False
        try:
            return self._eager(images, labels)
        except (Exception, SystemExit) as error:
            if self._graph is None or not is_memory_fault(error):
                raise
        self._graph = None
        self._gradients = []
        torch.cuda.empty_cache()
        self._give_up("there is no memory for it beside batches of other sizes")
        return self._eager(images, labels)

    def _give_up(self, reason: str) -> None:
        self._is_given_up = True
        self._say(f"The step does not run as a CUDA graph, because {reason}. Training goes on, slower.")


def _first_fault(error: BaseException) -> BaseException:
    """What broke a capture: CUDA tells of that again, in words that say nothing, when the capture ends."""
    while error.__context__ is not None:
        error = error.__context__
    return error


class StepWatch:
    """Runs the first steps, and sees whether they do the same: only then may one recording stand for all that follow.

    The first is not compared: solvers make their buffers in it. `difference` says what was not the same. What a network
    does only much later, or keeps outside of its modules, is not seen: that is what the form's switch is for.
    """

    STEPS = 4

    def __init__(self, step: EagerStep, device: torch.device) -> None:
        self._step = step
        self._device = device
        self._seen: list[list[str]] = []
        self._steps = 0
        self.difference: str | None = None

    @property
    def is_done(self) -> bool:
        return self._steps >= self.STEPS

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        self._steps += 1
        if self._steps == 1:
            return self._step(images, labels)
        before = self._state_of_python()
        with OperationRecorder(self._device) as recorder:
            loss = self._step(images, labels)
        self._seen.append(recorder.operations)
        if recorder.reads_values:
            self.difference = "its Python code looks at values that the GPU computes"
        elif self._state_of_python() != before:
            self.difference = (
                "its Python code keeps something from step to step, or draws random numbers outside of torch"
            )
        elif self._seen[-1] != self._seen[0]:
            self.difference = "it does not do the same at every step"
        return loss

    def _state_of_python(self) -> list[Any]:
        """What Python code may change from step to step and a recording would not: plain values, which tensors are used."""
        kept: list[Any] = []
        for module in self._step.network.model.modules():
            values = {**vars(module), **module._parameters, **module._buffers}
            for name, value in values.items():
                if isinstance(value, Tensor):
                    kept.append((name, value.data_ptr()))
                elif isinstance(value, int | float | str | None):
                    kept.append((name, value))
        return [kept, random.getstate(), repr(np.random.get_state(legacy=False))]


class OperationRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation of torch: its name, the shapes of its tensors, the values of everything else.

    Single numbers that are on another device than the network count as values: its kernels get them as such.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self.operations: list[str] = []
        self.reads_values = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.operations.append(f"{func} {tree_map(self._described, (args, kwargs))}")
        if not VALUE_DEPENDENT.isdisjoint(func.tags):
            self.reads_values = True
        return func(*args, **kwargs)

    def _described(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            is_number = value.numel() == 1 and value.device.type != self._device.type
            return value.tolist() if is_number else f"{value.dtype}{tuple(value.shape)}"
        return value if isinstance(value, int | float | str | None) else type(value).__name__
