"""Lua 5.1 for pasted networks: a world without files, programs and time without end, and the way between it and Python."""

import copy
import difflib
import inspect
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from weakref import WeakKeyDictionary, WeakValueDictionary

import lupa.lua51 as lupa
import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.nn import Parameter
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from jobs.errors import BadNetwork
from jobs.torch7 import library
from jobs.torch7.history import Copied, Flattened, History, Made
from jobs.torch7.module import CLASSES, Container, Criterion, MadeOf, TorchModule, describe, members
from jobs.torch7.own_class import LuaModule, tensors_of
from jobs.torch7.own_criterion import LuaCriterion
from jobs.torch7.sharing import Part, SharedWeights, parts_of, set_weight
from jobs.torch7.tensor_arithmetic import OPERATIONS
from jobs.torch7.tensors import TENSOR_METHODS, TORCH_FUNCTIONS, text_of

PRELUDE = Path(__file__).with_name("prelude.lua")
# The prelude's own limit comes first; what leaps over that in one step ends here.
MOST_LUA_BYTES = 2**30
# Lua does not know how large the tensors are that it holds: so many bytes of them, and it looks what is not needed any more.
BYTES_BETWEEN_COLLECTIONS = 32 * 2**20
MOST_TENSOR_BYTES = 4 * 2**30
SECONDS_TO_BUILD = 50.0
SECONDS_OF_A_CALL = 50.0
LONGEST_LINE_SAID = 10_000
# What Python puts before a sentence about missing arguments: a function's name of ours.
WRONG_COUNT = re.compile(r"^(?:[\w.]*<lambda>|[\w.<>]+)\(\) (?=missing \d|takes )")
CALLED_NIL = re.compile(r"attempt to call (field|method) '(\w+)' \(a nil value\)")
# layer.output, but not the output that a class of the text's own keeps itself.
ASKS_FOR_OUTPUT = re.compile(r"""(?<!\bself)\.output\b|\[\s*["']output["']\s*\]""")
# Up to here every whole number is a number of Lua.
LARGEST_WHOLE = 2**53


class Handle:
    """A Python object in Lua's hands. Lua can do nothing with it but hand it back."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class TensorHandle(Handle):
    """A tensor in Lua's hands, and how many bytes all of them have together."""

    __slots__ = ("_bytes",)

    def __init__(self, held: Tensor, all_bytes: list[int]) -> None:
        super().__init__(held)
        self._bytes = all_bytes
        all_bytes[0] += held.nbytes

    def __del__(self) -> None:
        self._bytes[0] -= self.held.nbytes


@dataclass
class PendingGradients:
    """Of a module that Lua runs forward and backward itself: its last forward pass, and the last gradients through it."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    # The values of the inputs and of the gradients then. Lua may have written others over them since.
    given: list[Tensor]
    gradients: list[Tensor] = field(default_factory=list)
    of_inputs: list[Tensor] = field(default_factory=list)
    of_parameters: list[tuple[Parameter, Tensor]] = field(default_factory=list)


class LuaFault(Exception):
    """An error in Lua: what it says, and the line of the text."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line

    def as_bad_network(self) -> BadNetwork:
        where = f"line {self.line}: " if self.line else ""
        return BadNetwork(f"{where}{self}", self.line)


class Runtime:
    """One Lua state with Torch7's world in it, and the network that is made there.

    A `history` is told what becomes of weights.
    """

    def __init__(
        self, gpus: int = 0, clock: Callable[[], float] = time.monotonic, history: History | None = None
    ) -> None:
        self._gpus = gpus
        self.history = history
        self._clock = clock
        self._deadline = float("inf")
        self._wrapped_bytes = 0
        self._held_bytes = [0]
        # What Lua computes, by the numbers of its objects, as long as a network has it.
        self._own: WeakValueDictionary[int, LuaModule] = WeakValueDictionary()
        self.lines: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self._shared = SharedWeights()
        # What each object's own functions took out of the training, until the network is complete.
        self._frozen: dict[int, list[Parameter]] = {}
        # What their `parameters` does not name.
        self._unnamed = WeakTensorKeyDictionary()
        # What layers gave last, of those that Lua asks.
        self._outputs: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
        self._copied_outputs: WeakKeyDictionary[nn.Module, tuple[Any, Any]] = WeakKeyDictionary()
        self._asks_for_outputs = False
        # Once the network is complete: its parameters, and what a label hook adds to their gradients.
        self._trained: WeakTensorKeyDictionary | None = None
        self._added_gradients = WeakTensorKeyDictionary()
        self._is_in_label_hook = False
        self._lua = lupa.LuaRuntime(
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_handlers=(_deny, _deny),
            max_memory=MOST_LUA_BYTES,
        )
        prelude = self._lua.eval("function(source, python) return assert(loadstring(source, '=prelude'))(python) end")
        self.parts = prelude(PRELUDE.read_text(), self._answer)

    # Texts and calls

    @contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        """Whatever runs in Lua meanwhile ends after so many seconds, as BadNetwork."""
        outer, self._deadline = self._deadline, min(self._deadline, self._clock() + seconds)
        try:
            yield
        except lupa.LuaMemoryError as error:
            raise BadNetwork("The network takes more memory in Lua than it may have.") from error
        except lupa.LuaError as error:
            raise BadNetwork(f"Lua failed: {error}.") from error
        except UnicodeDecodeError as error:
            # What Lua says of a name with other letters breaks off within one of them.
            said, line = _split_line(error.object.decode(errors="replace"))
            where = f"line {line}: " if line else ""
            raise BadNetwork(f"{where}{said}; names in Lua are of the letters a to z, digits and _", line) from error
        finally:
            self._deadline = outer

    def run(self, text: str) -> Any:
        """Run a text and give what it returns. BadNetwork, with the line, when that fails."""
        if text.startswith("\x1b"):
            raise BadNetwork("This is compiled Lua, and only text can be run. Paste the text of the network.", 1)
        self._asks_for_outputs = ASKS_FOR_OUTPUT.search(text) is not None
        found, chunk = self.parts.load_text(text)
        if not found:
            message, line = _split_line(str(chunk[1]))
            raise LuaFault(message, line).as_bad_network()
        return self.call(chunk, seconds=SECONDS_TO_BUILD)

    def call(self, function: Any, *arguments: Any, seconds: float = SECONDS_OF_A_CALL) -> Any:
        """Call a function of the text with Python's values, and give what it returns as it is in Lua."""
        converted = [self.to_lua(argument) for argument in arguments]
        with self.time_limit(seconds):
            answer = self.parts.protected(function, *converted)
        ok, *values = answer if isinstance(answer, tuple) else (answer,)
        if not ok:
            raise self._fault(values[0]).as_bad_network()
        return values[0] if values else None

    def lines_of(self, function: Any) -> tuple[int, int] | None:
        """The first and the last line of a function of the text; None for one of ours."""
        found = self.parts.lines_of(function)
        return (int(found[1]), int(found[2])) if found is not None else None

    def _fault(self, described: Any) -> LuaFault:
        if lupa.lua_type(described) != "table":
            # There was no memory left to describe it.
            return LuaFault("the network takes more memory in Lua than it may have", None)
        if isinstance(described[1], UnicodeError):
            return LuaFault("a text that is not UTF-8 went to Python", described[2])
        if isinstance(described[1], BaseException):
            # An alarm or an interrupt struck in a call of Python's.
            raise described[1]
        message, line = _split_line(str(described[1]))
        return LuaFault(message + self._meant(message), line or described[2])

    def _meant(self, message: str) -> str:
        """What a name that there is not was meant to be."""
        found = CALLED_NIL.search(message)
        if found is None:
            return ""
        kind, wrong = found.groups()
        if kind == "field":
            names = {name: f"nn.{name}" for name in CLASSES} | {name: f"torch.{name}" for name in TORCH_FUNCTIONS}
        else:
            methods = [*TENSOR_METHODS, *self.parts.methods_of_modules()]
            methods += [name for known in CLASSES.values() for name in known.lua_methods()]
            names = {name: f":{name}" for name in methods}
        # Capitals are the most common slip of all.
        in_small = {name.lower(): meant for name, meant in names.items()}
        near = difflib.get_close_matches(wrong.lower(), in_small, n=1, cutoff=0.75)
        return f"; is {in_small[near[0]]} meant?" if near else ""

    # Values

    def to_lua(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            self._collect_now_and_then(value)
            return self.parts.wrap(TensorHandle(value, self._held_bytes))
        if isinstance(value, list | tuple):
            return self._lua.table_from([self.to_lua(part) for part in value])
        if isinstance(value, dict):
            return self._lua.table_from({key: self.to_lua(part) for key, part in value.items()})
        if value is None or isinstance(value, bool | int | float | str) or lupa.lua_type(value):
            return value
        return Handle(value)

    def _collect_now_and_then(self, tensor: Tensor) -> None:
        self._wrapped_bytes += tensor.nbytes
        if self._wrapped_bytes > BYTES_BETWEEN_COLLECTIONS:
            self._wrapped_bytes = 0
            # What Lua gives up in the first turn Python gets back in the second.
            self.parts.collect()
            self.parts.collect()
            if self._held_bytes[0] > MOST_TENSOR_BYTES:
                raise ValueError(f"the tensors in Lua take more than {MOST_TENSOR_BYTES // 2**30} GB")

    def to_python(self, value: Any) -> Any:
        """A tensor for a tensor, a list for a sequence, a module for an object of nn, a function for a function."""
        kind = lupa.lua_type(value)
        if kind == "table":
            return self._table_to_python(value)
        if kind == "function":
            return lambda *arguments: self.to_python(value(*map(self.to_lua, arguments)))
        held = self.parts.unwrap(value) if kind == "userdata" else value
        if isinstance(held, Handle):
            return held.held
        is_whole = isinstance(held, float) and held.is_integer() and abs(held) <= LARGEST_WHOLE
        return int(held) if is_whole else held

    def _table_to_python(self, table: Any) -> Any:
        if self.parts.number(table) is not None:
            return self.module_of(table)
        keys = list(table.keys())
        if all(isinstance(key, int) for key in keys) and sorted(keys) == list(range(1, len(keys) + 1)):
            return [self.to_python(table[key]) for key in range(1, len(keys) + 1)]
        return {str(key): self.to_python(part) for key, part in table.items()}

    # What the prelude asks for

    def _answer(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """The one function that Lua can call: true and results, or false and a sentence."""
        try:
            result = getattr(self, f"lua_{name}")(*arguments)
        except BadNetwork as error:
            return False, str(error)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            RuntimeError,
            lupa.LuaError,
        ) as error:
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            called = f"{arguments[0]}: " if name in ("tensor_method", "torch_function") else ""
            return False, WRONG_COUNT.sub(called, said)
        return (True, *result) if isinstance(result, tuple) else (True, result)

    def lua_time_is_up(self) -> bool:
        return self._clock() > self._deadline

    def lua_say(self, text: str) -> None:
        print(text[:LONGEST_LINE_SAID])

    def lua_gpu_count(self) -> int:
        return self._gpus

    def lua_random_number(self, low: float | None = None, high: float | None = None) -> float:
        """math.random, from the generator that the training's seed sets."""
        if low is None:
            return float(torch.rand(()).item())
        first, last = (1, int(low)) if high is None else (int(low), int(high))
        if first > last:
            raise ValueError("random: the interval is empty")
        return int(torch.randint(first, last + 1, ()).item())

    def lua_has_tensor_method(self, name: str) -> bool:
        return name in TENSOR_METHODS

    def lua_has_torch_function(self, name: str) -> bool:
        return name in TORCH_FUNCTIONS

    def lua_tensor_method(self, name: str, *arguments: Any) -> Any:
        if self.history is not None:
            self.history.tensor_method(name, [*map(self.to_python, arguments)])
        result = self._computed(TENSOR_METHODS[name], arguments)
        if name == "set":
            tensor, source = map(self.to_python, arguments)
            if isinstance(tensor, Parameter) and source is not tensor:
                self._shared.set(tensor, source)
        return result

    def lua_torch_function(self, name: str, *arguments: Any) -> Any:
        return self._computed(TORCH_FUNCTIONS[name], arguments)

    def lua_tensor_operation(self, name: str, *arguments: Any) -> Any:
        return self._computed(OPERATIONS[name], arguments)

    def lua_tensor_get(self, *arguments: Any) -> Any:
        return self._computed(TENSOR_METHODS["get_item"], arguments)

    def lua_tensor_set(self, *arguments: Any) -> Any:
        return self._computed(TENSOR_METHODS["set_item"], arguments)

    def lua_tensor_text(self, tensor: Any) -> str:
        return text_of(self.to_python(tensor))

    def _computed(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        given = [*map(self.to_python, arguments)]
        with torch.no_grad(), _weights_may_change(given):
            result = function(*given)
        if isinstance(result, tuple):
            return tuple(map(self.to_lua, result))
        return self.to_lua(result)

    # Classes of nn

    def lua_kind_of_class(self, name: str) -> str | None:
        """ "leaf", "container", a sentence for a class of Torch7 that is missing here, or None for no class at all."""
        kind = CLASSES.get(name)
        if kind is not None:
            return "container" if issubclass(kind, Container) else "leaf"
        return library.why_missing(name)

    def lua_is_criterion(self, name: str) -> bool:
        return issubclass(CLASSES[name], Criterion)

    def lua_methods(self, name: str) -> Any:
        return self._lua.table_from(dict.fromkeys(CLASSES[name].lua_methods(), True))

    def lua_new_leaf(self, name: str, line: int | bool, count: int, *arguments: Any) -> Handle:
        # Lua hands over what was given; what comes as nil at the end may be missing here.
        given = [*map(self.to_python, arguments), *[None] * (count - len(arguments))]
        module = _made(name, given)
        if line:
            self.lines[module] = int(line)
        if self.history is not None:
            self.history.steps.append(Made(module))
        return Handle(module)

    def lua_rename(self, handle: Handle, name: str) -> None:
        """An object of another library's class that computes the same."""
        handle.held.torch_name = name

    def lua_method(self, handle: Handle, lua_name: str, *arguments: Any) -> Any:
        method = getattr(handle.held, handle.held.lua_methods()[lua_name])
        given = [*map(self.to_python, arguments)]
        if self.history is not None:
            self.history.module_method(handle.held, lua_name, given)
        return self.to_lua(method(*given))

    def lua_field(self, handle: Handle, name: str) -> Any:
        module = handle.held
        if name in ("gradWeight", "gradBias"):
            return self._gradient(module, name)
        attribute = _fields(module).get(name)
        with torch.no_grad():
            return None if attribute is None else self.to_lua(getattr(module, attribute, None))

    def _gradient(self, module: nn.Module, name: str) -> Any:
        field = "weight" if name == "gradWeight" else "bias"
        part = parts_of(module).get(field)
        if part is not None:
            return self.to_lua(part.of(self._gradient_of(part.whole)))
        parameter = getattr(module, field, None)
        return None if parameter is None else self.to_lua(self._gradient_of(parameter))

    def _gradient_of(self, parameter: Parameter) -> Tensor:
        """Where Lua finds a gradient, and adds to it.

        When a label hook runs, those of the network are zero, and what it adds there counts with what backward gives.
        """
        if self._is_in_label_hook and self._trained is not None and parameter in self._trained:
            if parameter not in self._added_gradients:
                self._added_gradients[parameter] = torch.zeros_like(parameter)
                self._add_in_backward(parameter, self._added_gradients[parameter])
            added: Tensor = self._added_gradients[parameter]
            return added
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        return parameter.grad

    def _add_in_backward(self, parameter: Parameter, added: Tensor) -> None:
        parameter.register_hook(lambda gradient: gradient + added)  # type: ignore[no-untyped-call]

    @contextmanager
    def label_hook(self) -> Iterator[None]:
        """What runs in Lua meanwhile runs between a step's forward pass and its backward pass."""
        for added in self._added_gradients.values():  # type: ignore[no-untyped-call]
            added.zero_()
        self._is_in_label_hook = True
        try:
            yield
        finally:
            self._is_in_label_hook = False

    def lua_output(self, lua_object: Any) -> Any:
        """What a layer gave in the last pass through the network; None before the first."""
        handle = self.parts.handle(lua_object) or self.parts.container(lua_object)
        if handle is None:
            return None
        module = handle.held
        self._keep_outputs_of(module)
        output = self._outputs[module]
        if output is None:
            return None
        # A copy, which Lua may change: the backward pass needs the output itself as it is.
        of, copied = self._copied_outputs.get(module, (None, None))
        if of is not output:
            copied = tree_map(lambda part: part.clone() if isinstance(part, Tensor) else part, output)
            self._copied_outputs[module] = (output, copied)
        return self.to_lua(copied)

    def _keep_outputs_of(self, module: nn.Module) -> None:
        if module in self._outputs:
            return
        outputs = self._outputs
        outputs[module] = None

        # No method of ours: a copy of the module would copy all of Lua with it.
        def keep(module: nn.Module, _given: Any, output: Any) -> None:
            outputs[module] = tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, output)

        module.register_forward_hook(keep)

    def lua_set_field(self, handle: Handle, name: str, value: Any) -> bool:
        """Whether the field is one of Python's; else it is the Lua object's own."""
        module = handle.held
        attribute = _fields(module).get(name)
        if attribute is None:
            return False
        self._set_attribute(module, attribute, self.to_python(value))
        return True

    def _set_attribute(self, module: nn.Module, attribute: str, given: Any) -> None:
        is_weight = attribute in module._parameters or attribute in parts_of(module)
        if is_weight and (given is None or isinstance(given, Tensor)):
            set_weight(module, attribute, None if given is None else self._shared.of(given))
        else:
            setattr(module, attribute, given)

    def lua_new_copies(self) -> Handle:
        """What is copied with one call of clone: what modules share there, their copies share too."""
        return Handle({})

    def lua_clone_handle(self, handle: Handle, shared: Any, copies: Handle) -> Handle:
        """A copy of a module that shares the parameters with these names with it."""
        module = handle.held
        names = {_fields(module).get(name) for name in shared.values()}
        kept = [
            *module.named_parameters(recurse=False),
            *((name, part.whole) for name, part in parts_of(module).items()),
        ]
        copies.held.update({id(parameter): parameter for name, parameter in kept if name in names})
        made = copy.deepcopy(module, copies.held)
        if module in self.lines:
            self.lines[made] = self.lines[module]
        if self.history is not None:
            self.history.steps.append(Copied(made, module))
        return Handle(made)

    def lua_share(self, mine: Handle, other: Handle, name: str) -> None:
        if name in ("gradWeight", "gradBias"):
            # Whose weights are one have one gradient.
            return
        attribute = _fields(mine.held)[name]
        with torch.no_grad():
            self._set_attribute(mine.held, attribute, getattr(other.held, attribute))

    def lua_flatten(self, lua_object: Any) -> tuple[Any, Any]:
        """All parameters in one tensor, of which they are parts from now on; and one for their gradients."""
        network = self.module_of(lua_object)
        self._shared.join(network)
        parameters = [parameter for parameter in network.parameters() if parameter not in self._unnamed]
        if not parameters:
            return self.to_lua(torch.zeros(0)), self.to_lua(torch.zeros(0))
        flat = _in_one([parameter.data for parameter in parameters])
        gradients = _in_one([self._gradient_of(parameter) for parameter in parameters])
        self._shared.take(flat, flat)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.data = flat[start:end].view(parameter.shape)
            self._put_gradient(parameter, gradients[start:end].view(parameter.shape))
            start = end
        for part in network.modules():
            if isinstance(part, LuaModule):
                part.bind_parameters()
        if self.history is not None:
            self.history.steps.append(Flattened(flat, parameters))
        return self.to_lua(flat), self.to_lua(gradients)

    def _put_gradient(self, parameter: Parameter, gradient: Tensor) -> None:
        """Another place for a gradient of the same values."""
        if parameter in self._added_gradients:
            self._added_gradients[parameter].set_(gradient)
        else:
            parameter.grad = gradient

    def lua_described(self, lua_object: Any) -> str:
        handle = self.parts.handle(lua_object)
        return describe(handle.held if handle is not None else self.module_of(lua_object))

    def move_tensors(self, lua_object: Any, fn: Callable[[Tensor], Tensor], but: Collection[str] = ()) -> None:
        """Change every tensor that an object keeps in its fields, but those with these names."""
        for name, value in list(lua_object.items()):
            kept = self.to_python(value) if lupa.lua_type(value) == "userdata" else None
            if isinstance(kept, Tensor) and name not in but:
                lua_object[name] = self.to_lua(fn(kept))

    # Modules that Lua itself runs, as a class of the user's may do with those inside it

    def lua_update_output(self, lua_object: Any, given: Any) -> Any:
        output = self._run(lua_object, given)
        return self.to_lua([part.detach() for part in output] if isinstance(output, list | tuple) else output.detach())

    def _run(self, lua_object: Any, given: Any) -> Any:
        module = self._python_module(lua_object)
        module.train(bool(lua_object["train"]))
        inputs = tensors_of(self.to_python(given))
        leaves = [tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in inputs]
        with torch.enable_grad():
            output = module(leaves[0] if lupa.lua_type(given) != "table" else leaves)
        seen = [tensor.detach().clone() for tensor in inputs]
        self.parts.set_pending(lua_object, Handle(PendingGradients(leaves, tensors_of(output), seen)))
        return output

    def lua_update_grad_input(self, lua_object: Any, given: Any, gradient: Any) -> Any:
        of_inputs = self._gradients_through(lua_object, given, gradient).of_inputs
        return self.to_lua(of_inputs if lupa.lua_type(given) == "table" else of_inputs[0])

    def lua_acc_grad_parameters(self, lua_object: Any, given: Any, gradient: Any, scale: float) -> None:
        if self._pending(lua_object) is None:
            # Of a class of the text's own, with nothing to learn.
            return
        for parameter, part in self._gradients_through(lua_object, given, gradient).of_parameters:
            self._gradient_of(parameter).add_(part, alpha=scale)

    def _gradients_through(self, lua_object: Any, given: Any, gradient: Any) -> PendingGradients:
        """A pass forward of this input and back of this gradient: the last ones, or new ones where these were of others.

        So a module may run forward several times before it runs backward, as over the steps of a sequence. What chance
        dropped in a pass that is not the last is drawn anew.
        """
        pending = self._pending(lua_object)
        if pending is None:
            self._refuse_to_go_back(lua_object)
        elif not _are_equal(pending.given, tensors_of(self.to_python(given))):
            self._run(lua_object, given)
        pending = self._pending(lua_object)
        assert pending is not None
        gradients = tensors_of(self.to_python(gradient))
        if not _are_equal(pending.gradients, gradients):
            self._go_back(lua_object, pending, gradients)
        return pending

    def _go_back(self, lua_object: Any, pending: PendingGradients, gradients: list[Tensor]) -> None:
        parameters = [
            parameter for parameter in self._python_module(lua_object).parameters() if parameter.requires_grad
        ]
        wanted = [leaf for leaf in pending.inputs if leaf.requires_grad]
        found = torch.autograd.grad(pending.outputs, [*wanted, *parameters], gradients, True, allow_unused=True)
        pending.gradients = [tensor.detach().clone() for tensor in gradients]
        pending.of_inputs = [
            torch.zeros_like(leaf) if part is None else part for leaf, part in zip(wanted, found, strict=False)
        ]
        pending.of_parameters = [
            (parameter, part)
            for parameter, part in zip(parameters, found[len(wanted) :], strict=True)
            if part is not None
        ]

    def _refuse_to_go_back(self, lua_object: Any) -> NoReturn:
        name = self.parts.typename(lua_object)
        if self.parts.handle(lua_object) is None and self.parts.known_ancestor(lua_object) is None:
            raise ValueError(
                f"{name} has no updateGradInput: define function {name}:updateGradInput(input, gradOutput) for it"
            )
        raise ValueError(f"{name}:updateGradInput is called before updateOutput")

    def _pending(self, lua_object: Any) -> PendingGradients | None:
        handle = self.parts.pending(lua_object)
        return None if handle is None else handle.held

    def lua_criterion_output(self, handle: Handle, output: Any, target: Any) -> float:
        with torch.no_grad():
            return float(_inherited(handle)(self.to_python(output), self.to_python(target)))

    def lua_criterion_gradient(self, handle: Handle, output: Any, target: Any) -> Any:
        outputs = [tensor.detach().requires_grad_() for tensor in tensors_of(self.to_python(output))]
        is_table = lupa.lua_type(output) == "table"
        with torch.enable_grad():
            loss = _inherited(handle)(outputs if is_table else outputs[0], self.to_python(target))
        found = [self.to_lua(part) for part in torch.autograd.grad(loss, outputs)]
        return self._lua.table_from(found) if is_table else found[0]

    # Objects of Lua as one network of Python

    def module_of(self, lua_object: Any) -> nn.Module:
        """The Python module for an object of nn. What was completed before stays as it is, unless its parts changed."""
        parts = self.parts
        if not parts.is_module(lua_object) and not parts.is_criterion(lua_object):
            raise ValueError(f"an object of nn is expected here, got {_kind_in_lua(lua_object)}")
        if parts.is_criterion(lua_object):
            return self._criterion(lua_object)
        compute = self._own_module if parts.computes_in_lua(lua_object) else self._python_module
        module = compute(lua_object)
        if self._trained is None:
            self._freeze(lua_object, module)
            if self._asks_for_outputs and not isinstance(module, LuaModule):
                self._keep_outputs_of(module)
        if parts.line(lua_object):
            self.lines[module] = parts.line(lua_object)
        return module

    def _freeze(self, lua_object: Any, module: nn.Module) -> None:
        """Take out of the training what people took out: with an accGradParameters that does nothing, or with a
        `parameters` that does not name it."""
        number = self.parts.number(lua_object)
        for parameter in self._frozen.pop(number, []):
            parameter.requires_grad_(True)
            self._unnamed.pop(parameter, None)  # type: ignore[no-untyped-call]
        learnt: list[Tensor] = []
        if not self.parts.is_frozen(lua_object):
            if not self.parts.names_its_parameters(lua_object):
                return
            learnt = tensors_of(self.to_python(self.call(lua_object["parameters"], lua_object)))
        places = {tensor.data_ptr() for tensor in learnt}
        self._frozen[number] = [
            parameter
            for parameter in module.parameters()
            if parameter.requires_grad and parameter.data_ptr() not in places
        ]
        for parameter in self._frozen[number]:
            parameter.requires_grad_(False)
            if not self.parts.is_frozen(lua_object):
                self._unnamed[parameter] = True

    def complete(self, network: nn.Module) -> None:
        """The network is as the training gets it. BadNetwork when a layer has a part of a weight that nobody trains."""
        self._shared.join(network)
        self._trained = WeakTensorKeyDictionary(dict.fromkeys(network.parameters(), True))
        for module in network.modules():
            for name, part in parts_of(module).items():
                if part.whole not in self._trained:
                    sentence = f"{describe(module)} shares its {name} with a layer that is not in the model"
                    raise LuaFault(sentence, self.lines.get(module)).as_bad_network()
        # The training begins without gradients; what Lua has of them is its own from now on.
        for parameter in network.parameters():
            parameter.grad = None
        self._frozen.clear()

    def _criterion(self, lua_object: Any) -> nn.Module:
        if not self.parts.is_own_criterion(lua_object):
            return self._python_module(lua_object)
        return LuaCriterion(self, lua_object)

    def _own_module(self, lua_object: Any) -> nn.Module:
        """Of an object of a class of the user's. What it inherits from a class of Python's has the weights."""
        number = self.parts.number(lua_object)
        before = self._own.get(number)
        if before is not None and self._trained is not None:
            return before
        inherited = self.parts.handle(lua_object)
        parts = [] if inherited is None else [inherited.held]
        inner = map(self.module_of, self.parts.inner_modules(lua_object).values())
        module = LuaModule(self, lua_object, [*parts, *self._children(lua_object), *inner])
        if before is None or not before.is_as(module):
            self._own[number] = before = module
        return before

    def weight_of(self, tensor: Tensor) -> Parameter | Part:
        """What stands for a tensor of Lua's among the weights of the network."""
        return self._shared.of(tensor)

    def _python_module(self, lua_object: Any) -> nn.Module:
        """What Python computes for an object, whatever a class of the user's makes of it."""
        handle = self.parts.handle(lua_object)
        return self._container(lua_object) if handle is None else handle.held

    def _children(self, lua_object: Any) -> list[nn.Module]:
        modules = self.parts.raw(lua_object, "modules")
        if modules is None:
            return []
        return [self.module_of(modules[place]) for place in range(1, len(modules) + 1)]

    def _container(self, lua_object: Any) -> nn.Module:
        children = self._children(lua_object)
        kind = self.parts.known_ancestor(lua_object)
        before = self.parts.container(lua_object)
        if before is not None and list(map(id, members(before.held))) == list(map(id, children)):
            return before.held  # type: ignore[no-any-return]
        container = self._new_container(lua_object, kind, children)
        self.parts.set_container(lua_object, Handle(container))
        return container

    def _new_container(self, lua_object: Any, kind: str | None, children: list[nn.Module]) -> nn.Module:
        if kind == "gModule":
            name = self.parts.raw(lua_object, "name")
            edges, inputs, outputs = (
                self.to_python(lua_object[f"graph_{name}"]) for name in ("edges", "inputs", "outputs")
            )
            return library.graph_module(
                children,
                [[place - 1 for place in edge] for edge in edges],
                [place - 1 for place in inputs],
                [place - 1 for place in outputs],
                name if isinstance(name, str) else None,
            )
        if kind is None:
            raise ValueError(
                f"{self.parts.typename(lua_object)} has no updateOutput: define function {self.parts.typename(lua_object)}"
                ":updateOutput(input) for it, or let it inherit from a container such as nn.Sequential"
            )
        given = self.parts.arguments(lua_object)
        arguments = [given[place] for place in range(1, int(given["n"]) + 1)] if given is not None else []
        plain = [self.to_python(value) for value in arguments if not self.parts.is_module(value)]
        try:
            return _made(kind, plain, children)
        except ValueError as error:
            raise LuaFault(str(error), self.parts.line(lua_object)).as_bad_network() from error


def _are_equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def _deny(*_arguments: Any) -> Any:
    raise AttributeError("Lua has no way to Python's objects.")


def _weights_may_change(given: Sequence[Any]) -> AbstractContextManager[Any]:
    """Autograd does not mind that weights change between the passes of a step, as Torch7 does not."""
    owners = [part if part._base is None else part._base for part in given if isinstance(part, Tensor)]
    weights = tuple(owner for owner in owners if isinstance(owner, Parameter))
    return _unsafe_preserve_version_counter(weights) if weights else nullcontext()


def _in_one(tensors: Sequence[Tensor]) -> Tensor:
    """All values in one tensor: the one in which they lie one after the other already, or a new one."""
    first, count = tensors[0], sum(tensor.numel() for tensor in tensors)
    storage, place = first.untyped_storage().data_ptr(), first.data_ptr()
    for tensor in tensors:
        if (tensor.untyped_storage().data_ptr(), tensor.data_ptr()) != (storage, place) or not tensor.is_contiguous():
            return torch.cat([part.detach().reshape(-1) for part in tensors])
        place += tensor.nbytes
    return first.as_strided((count,), (1,)).detach()


def _inherited(handle: Handle | None) -> nn.Module:
    """The criterion that a class of the text inherits from."""
    if handle is None:
        raise ValueError("a criterion needs updateOutput(input, target) and updateGradInput(input, target); where it "
                         "inherits them, call the parent's __init(self, ...) first")  # fmt: skip
    criterion: nn.Module = handle.held
    return criterion


def _made(name: str, given: Sequence[Any], *before: Any) -> nn.Module:
    """An object of nn from what Lua gave, after the arguments of ours that come `before`. nil is what is not given."""
    kind: Any = CLASSES[name]
    arguments = list(given)
    while arguments and arguments[-1] is None:
        arguments.pop()
    parameters = list(inspect.signature(kind).parameters.values())[len(before) :]
    if all(parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters):
        # What is too much is not looked at, as in any function of Lua.
        arguments = arguments[: len(parameters)]
    for place, (parameter, value) in enumerate(zip(parameters, arguments, strict=False)):
        if value is None and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            if parameter.default is inspect.Parameter.empty:
                raise ValueError(f"nn.{name} got nil as its argument {place + 1}; is a name misspelt?")
            arguments[place] = parameter.default
    try:
        module: nn.Module = kind(*before, *arguments)
    except TypeError as error:
        said = ", ".join(map(_shown, given))
        raise ValueError(f"nn.{name}({said}) has arguments that do not fit: {_without_class(error)}") from error
    if isinstance(module, TorchModule):
        module.made_of = MadeOf(name, tuple(arguments))
    return module


def _fields(module: nn.Module) -> dict[str, str]:
    fields: dict[str, str] = {}
    for kind in reversed(type(module).__mro__):
        fields |= vars(kind).get("lua_fields", {})
    return fields


def _split_line(message: str) -> tuple[str, int | None]:
    """`network:3: what is wrong` as the sentence and the line."""
    chunk, _, rest = message.partition(":")
    number, _, said = rest.partition(":")
    if chunk == "network" and number.isdigit():
        return said.strip(), int(number)
    return message, None


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor of {'×'.join(map(str, value.shape))}"
    return "nil" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _without_class(error: TypeError) -> str:
    return str(error).partition("__init__() ")[2] or str(error)


def _kind_in_lua(value: Any) -> str:
    return lupa.lua_type(value) or type(value).__name__
