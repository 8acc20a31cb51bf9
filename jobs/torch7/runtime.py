"""Lua 5.1 for pasted networks: a world without files, programs and time without end."""

import inspect
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import lupa.lua51 as lupa
from torch import Tensor, nn

from jobs.errors import BadNetwork
from jobs.torch7.bits import BitCommands
from jobs.torch7.faults import LuaFault, counted_from_one, split_line
from jobs.torch7.gradients import Gradients
from jobs.torch7.history import History
from jobs.torch7.module_commands import ModuleCommands
from jobs.torch7.objects import Objects
from jobs.torch7.outputs import Outputs
from jobs.torch7.passes import Passes
from jobs.torch7.sharing import SharedWeights
from jobs.torch7.slips import advice_on_classes, advice_on_name, advice_on_syntax
from jobs.torch7.tensor_commands import TensorCommands
from jobs.torch7.values import Values

# Torch7's world inside of Lua, each part after those that it needs.
LUA = Path(__file__).with_name("lua")
PARTS = ("border", "tensors", "classes", "module", "nn", "nn_utils", "nngraph", "torch", "world", "cudnn", "packages",
         "text", "parts", "luajit", "kept")  # fmt: skip
# The limit in border.lua comes first; what leaps over that in one step ends here.
MOST_LUA_BYTES = 2**30
SECONDS_TO_BUILD = 50.0
SECONDS_OF_A_CALL = 50.0
LONGEST_LINE_SAID = 10_000
# What a function has to be called for Lua to call it by the rest of its name.
FOR_LUA = "lua_"
# What Python puts before a sentence about missing arguments: a function's name of ours.
WRONG_COUNT = re.compile(r"^(?:[\w.]*<lambda>|[\w.<>]+)\(\) (?=missing \d|takes )")
# layer.output, but not the output that a class of the text's own keeps itself.
ASKS_FOR_OUTPUT = re.compile(r"""(?<!\bself)\.output\b|\[\s*["']output["']\s*\]""")


class Runtime(Values):
    """One Lua state with Torch7's world in it, and the network that is made there.

    A `history` is told what becomes of weights.
    """

    def __init__(
        self, gpus: int = 0, clock: Callable[[], float] = time.monotonic, history: History | None = None
    ) -> None:
        self._gpus = gpus
        self._clock = clock
        self._deadline = float("inf")
        self.history = history
        self.lines: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self.shared = SharedWeights()
        self._text = ""
        self.asks_for_outputs = False
        self.objects, self.gradients, self.outputs = Objects(self), Gradients(self), Outputs(self)
        rooms = (
            self,
            self.gradients,
            self.outputs,
            TensorCommands(self),
            ModuleCommands(self),
            Passes(self),
            BitCommands(),
        )
        self._commands = {
            name.removeprefix(FOR_LUA): method
            for room in rooms
            for name, method in inspect.getmembers(room, inspect.ismethod)
            if name.startswith(FOR_LUA)
        }
        lua = lupa.LuaRuntime(
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_handlers=(_deny, _deny),
            max_memory=MOST_LUA_BYTES,
        )
        super().__init__(lua, self.objects.module_of)
        run_ours = lua.eval("function(name, source, ...) return assert(loadstring(source, '=' .. name))(...) end")
        self.parts = lua.table()
        for name in PARTS:
            run_ours(name, (LUA / f"{name}.lua").read_text(), self.parts, self._answer)

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
            said, line = split_line(error.object.decode(errors="replace"))
            where = f"line {line}: " if line else ""
            raise BadNetwork(f"{where}{said}; names in Lua are of the letters a to z, digits and _", line) from error
        finally:
            self._deadline = outer

    def run(self, text: str) -> Any:
        """Run a text and give what it returns. BadNetwork, with the line, when that fails."""
        if text.startswith("\x1b"):
            raise BadNetwork("This is compiled Lua, and only text can be run. Paste the text of the network.", 1)
        self._text = text
        self.asks_for_outputs = ASKS_FOR_OUTPUT.search(text) is not None
        found, chunk = self.parts.load_text(text)
        if not found:
            message, line = split_line(str(chunk[1]))
            raise LuaFault(message + advice_on_syntax(text, line), line).as_bad_network()
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
        message, line = split_line(str(described[1]))
        line = line or described[2]
        advice = advice_on_classes(message, self._text, line) or advice_on_name(message, self.parts.methods_of_modules)
        return LuaFault(message + advice, line)

    # What Lua asks for

    def _answer(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """The one function that Lua can call: true and results, or false and a sentence."""
        try:
            result = self._commands[name](*arguments)
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
            said = counted_from_one(str(error).strip().partition("\n")[0]) or type(error).__name__
            called = f"{arguments[0]}: " if name in ("tensor_method", "torch_function") else ""
            return False, WRONG_COUNT.sub(called, said)
        return (True, *result) if isinstance(result, tuple) else (True, result)

    def lua_time_is_up(self) -> bool:
        return self._clock() > self._deadline

    def lua_say(self, text: str) -> None:
        print(text[:LONGEST_LINE_SAID])

    def lua_gpu_count(self) -> int:
        return self._gpus

    # What Lua keeps, for the modules that compute there

    def move_tensors(self, lua_object: Any, fn: Callable[[Tensor], Tensor], but: Collection[str] = ()) -> None:
        """Change every tensor that an object keeps in its fields, but those with these names."""
        for name, value in list(lua_object.items()):
            kept = self.to_python(value) if lupa.lua_type(value) == "userdata" else None
            if isinstance(kept, Tensor) and name not in but:
                lua_object[name] = self.to_lua(fn(kept))


def _deny(*_arguments: Any) -> Any:
    raise AttributeError("Lua has no way to Python's objects.")
