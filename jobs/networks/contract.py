"""What a pasted network must return, and the sentence for each way in which it does not."""

import difflib
import inspect
import linecache
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional
from torch import Tensor, nn

from jobs.containment.confinement import protections
from jobs.errors import BadNetwork
from jobs.models.generic_image import Framework
from jobs.networks.hints import hint, hint_on_syntax
from jobs.vision import import_torchvision

LabelHook = Callable[[Tensor, Tensor], Any]
LineOfModule = WeakKeyDictionary[nn.Module, int]

# What the pasted text runs as. Classes that it defines carry this name as their module.
MODULE_NAME = "network"

CONTAINED = (
    "Networks are contained here: they start no processes, so that torch.compile does not work and a DataLoader needs "
    "num_workers=0, reach no network, and use no files but their own and their dataset's. The job's page says more."
)


class Scale(nn.Module):
    """Multiplies by a constant; Torch7's MulConstant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = float(factor)

    def forward(self, input: Tensor) -> Tensor:
        return input * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor:g}"


class ClassesOfTorch:
    """`torch7.View(-1)` in a text of Python: a class of Torch7's nn, for what PyTorch does not have."""

    def __getattr__(self, name: str) -> Any:
        # A few hundred classes, for those who need one.
        from jobs.torch7.library import class_of  # noqa: PLC0415

        return class_of(name)


@dataclass(frozen=True)
class NetworkParams:
    """What the text's `network(params)` gets: `params.input_shape`, or `params["input_shape"]`."""

    input_shape: tuple[int, int, int]
    n_classes: int | None = None
    n_gpus: int = 0

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(f"{name} (params has {', '.join(self.__dataclass_fields__)})")
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)


def label_type(label_shape: Sequence[int]) -> torch.dtype:
    """Labels without sides are classes; all others are images or vectors."""
    return torch.float32 if label_shape else torch.long


def label_itself(input: Tensor, label: Tensor) -> Tensor:
    """The label hook of a network that gives none: the target is the dataset's label."""
    return label


class KeptByText(Protocol):
    """What a text keeps outside of modules, where its language can be looked through."""

    def take(self) -> dict[str, Any]:
        """As plain values and tensors."""

    def put_back(self, taken: dict[str, Any]) -> None: ...

    def unchanged(self) -> AbstractContextManager[None]:
        """Within it the text may run, and leaves it as it was."""

    def lost(self) -> list[str]:
        """The names of what `take` cannot take, and the text alone does not make."""


@dataclass(frozen=True)
class Network:
    """What a pasted network returned, complete and of the right types. Keys and defaults are DIGITS's."""

    model: nn.Module
    # DIGITS's default, ClassNLLCriterion.
    loss: Callable[[Any, Any], Tensor] = field(default_factory=nn.NLLLoss)
    train_batch_size: int = 16
    validation_batch_size: int = 16
    label_hook: LabelHook = label_itself
    crop_size: int | None = None
    filename: str = "network.py"
    # The line of the text that made each module; a module made by `copy.deepcopy` has none.
    lines: LineOfModule = field(default_factory=WeakKeyDictionary, repr=False)
    framework: Framework = "pytorch"
    # The network as Torch prints it.
    printed: str | None = None
    kept: KeptByText | None = None

    def line_of(self, module: nn.Module) -> int | None:
        return self.lines.get(module)


KEYS = ("model", "loss", "train_batch_size", "validation_batch_size", "label_hook", "crop_size")


def build_network(text: str, params: NetworkParams, filename: str = "network.py") -> Network:
    """Run a pasted text and its `network(params)`; BadNetwork, with the line to blame, when that fails.

    Seed before the call: the text makes its weights when it runs.
    """
    # Tracebacks, in the log too, then show the text's own lines.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    lines: LineOfModule = WeakKeyDictionary()
    with _recording_lines(filename, lines):
        namespace = _run_text(text, params, filename)
        function = namespace.get("network")
        if not callable(function):
            raise BadNetwork(
                "The text defines no function `network`. It must define `def network(params):` and return "
                "the model and its loss from it."
            )
        if not _takes(function, 1):
            raise BadNetwork("`network` takes one argument: def network(params):", _first_line_of(function))
        with blame_text(filename):
            returned = function(params)
    return _validated(returned, filename, lines)


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with so many arguments, as far as that can be known."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _first_line_of(function: Any) -> int | None:
    return function.__code__.co_firstlineno if isinstance(function, types.FunctionType) else None


def _run_text(text: str, params: NetworkParams, filename: str) -> dict[str, Any]:
    module = types.ModuleType(MODULE_NAME)
    given = {"torch": torch, "nn": nn, "F": torch.nn.functional, "Scale": Scale, "torch7": ClassesOfTorch()}
    module.__dict__.update(given, params=params)
    # Dataclasses and the like look their module up by name.
    sys.modules[MODULE_NAME] = module
    try:
        code = compile(text, filename, "exec")
    except SyntaxError as error:
        where = f" on line {error.lineno}" if error.lineno else ""
        raise BadNetwork(
            f"This is no Python{where}: {error.msg}.{hint_on_syntax(text, error.lineno)}", error.lineno
        ) from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise BadNetwork(f"Python cannot read this text: {error or type(error).__name__}.") from error
    if "torchvision" in text:
        import_torchvision()
    with blame_text(filename):
        exec(code, module.__dict__)  # noqa: S102  running the user's network is what this process is for
    return module.__dict__


@contextmanager
def blame_text(filename: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a BadNetwork with the line of the text.

    Memory that ran out stays what it is: that is no mistake in a line.
    """
    try:
        yield
    except BadNetwork:
        raise
    except (Exception, SystemExit) as error:
        if is_memory_fault(error):
            raise
        raise network_fault(error, filename) from error


def is_memory_fault(error: BaseException) -> bool:
    """Whether memory ran out. On the CPU torch says so in a RuntimeError's words only."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def network_fault(error: BaseException, filename: str, layer: str | None = None) -> BadNetwork:
    """What the network's own code raised, in a sentence; `layer` is the name of the one that ran."""
    line = line_in_text(error, filename)
    where = (f" on line {line}" if line else "") + (f" in {layer}" if layer else "")
    if isinstance(error, SystemExit):
        return BadNetwork(
            f"The network ends the program{where}; it must return from its function instead.", line, layer
        )
    said = f": {first_line(error).rstrip('.')}" if str(error).strip() else ""
    advice = CONTAINED if _was_refused(error) else hint(error, filename)
    return BadNetwork(
        f"The network failed{where} with {type(error).__name__}{said}{advice and f'. {advice}'}", line, layer
    )


def _was_refused(error: BaseException | None) -> bool:
    """Whether the error came of one by which a contained process is refused something."""
    if not any(protection.in_force for protection in protections()):
        return False
    while error is not None and not isinstance(error, PermissionError | ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None


def first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def line_in_text(error: BaseException, filename: str) -> int | None:
    """The innermost line of the pasted text on the way to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == filename), None)


@contextmanager
def _recording_lines(filename: str, lines: LineOfModule) -> Iterator[None]:
    """Note for every module made meanwhile which line of the text made it."""
    plain_init = nn.Module.__init__

    def noting_init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        plain_init(self, *args, **kwargs)
        line = _line_that_makes(self, filename)
        if line is not None:
            lines.setdefault(self, line)

    nn.Module.__init__ = noting_init  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__init__ = plain_init  # type: ignore[method-assign]


def _line_that_makes(module: nn.Module, filename: str) -> int | None:
    """The line of the text that calls the module's class, past the class's own `__init__` if that is in the text too."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None:
        own_init = frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is module
        if frame.f_code.co_filename == filename and not own_init:
            return frame.f_lineno
        frame = frame.f_back
    return None


def _validated(returned: Any, filename: str, lines: LineOfModule) -> Network:
    given = _as_dict(returned)
    _refuse_unknown_keys(given)
    if given.get("model") is None:
        raise BadNetwork("`network` returns no model. Return dict(model=…, loss=…); the model is an nn.Module.")
    # A blank is "not given", as nil is in Lua.
    given = {key: value for key, value in given.items() if value is not None}
    for key, value in given.items():
        CHECKS[key](key, value)
    return Network(**given, filename=filename, lines=lines)


def _as_dict(returned: Any) -> dict[str, Any]:
    if returned is None:
        raise BadNetwork("`network` returns nothing. It must end in `return dict(model=…, loss=…)`.")
    if isinstance(returned, Mapping):
        return dict(returned)
    if isinstance(returned, nn.Module):
        raise BadNetwork("`network` returns the model alone. Return dict(model=…, loss=…) instead.")
    given = {key: getattr(returned, key) for key in KEYS if hasattr(returned, key)}
    if not given:
        raise BadNetwork(f"`network` returns {_a_kind_of(returned)}. Return dict(model=…, loss=…) instead.")
    return given


def _refuse_unknown_keys(given: dict[str, Any]) -> None:
    for key in given:
        if key not in KEYS:
            # DIGITS's Lua names differ from ours in their capitals only.
            like = str(key).replace("croplen", "crop_size")
            near = difflib.get_close_matches(like, KEYS, n=1, cutoff=0.5)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise BadNetwork(f"`network` returns an unknown key, {key!r}.{meant} Known are: {', '.join(KEYS)}.")


def _check_model(key: str, value: Any) -> None:
    if isinstance(value, type) and issubclass(value, nn.Module):
        raise BadNetwork(f"The model is the class {value.__name__}. Make one of it: {value.__name__}(…).")
    if not isinstance(value, nn.Module):
        _refuse(key, value, "an nn.Module")
    if any(type(module).__name__ == "OptimizedModule" for module in value.modules()):
        raise BadNetwork("torch.compile does not work here: layers are watched while they learn. Leave it out.")


def _check_loss(key: str, value: Any) -> None:
    if isinstance(value, type):
        raise BadNetwork(f"The loss is the class {value.__name__}. Make one of it: nn.{value.__name__}().")
    if not callable(value):
        _refuse(key, value, "a loss such as nn.MSELoss(), or a function of output and target")
    if not isinstance(value, nn.Module) and not _takes(value, 2):
        raise BadNetwork("The loss takes two arguments: def loss(output, target):", _first_line_of(value))


def _check_count(key: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        _refuse(key, value, "a whole number, 1 or more")


def _check_hook(key: str, value: Any) -> None:
    if not callable(value):
        _refuse(key, value, "a function, such as lambda input, label: input")
    if not _takes(value, 2):
        raise BadNetwork("`label_hook` takes two arguments: lambda input, label: input.", _first_line_of(value))


CHECKS: dict[str, Callable[[str, Any], None]] = {
    "model": _check_model,
    "loss": _check_loss,
    "train_batch_size": _check_count,
    "validation_batch_size": _check_count,
    "label_hook": _check_hook,
    "crop_size": _check_count,
}


def _refuse(key: str, value: Any, wanted: str) -> NoReturn:
    raise BadNetwork(f"`{key}` is {_a_kind_of(value)}; it must be {wanted}.")


def _a_kind_of(value: Any) -> str:
    kind = type(value).__name__
    is_short = isinstance(value, int | float | str) and len(repr(value)) <= 40
    return f"{value!r} ({kind})" if is_short else f"an object of type {kind}"
