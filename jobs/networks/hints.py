"""What helps against the errors that beginners meet most, in a sentence that follows Python's own."""

import builtins
import difflib
import linecache
import re
import traceback
from collections.abc import Iterable

from torch import Tensor, nn

# What an error says, and what is to be done.
SENTENCES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), advice)
    for pattern, advice in (
        (r"before Module\.__init__\(\) call", "`__init__` has to begin with super().__init__()."),
        (r"\.forward\(\) takes [01] positional arguments? but", "Its first argument is self: def forward(self, x)."),
        (r"missing the required \"forward\"", "Define def forward(self, x) in the class."),
        (
            r"not compiled with CUDA|No CUDA GPUs|no NVIDIA driver",
            "Leave it out: the training puts the network where it trains. A tensor made in forward takes device=x.device.",
        ),
        (
            r"tensors to be on the same device",
            "Make tensors in forward with device=x.device, or keep them with self.register_buffer(name, tensor).",
        ),
        (r"'tuple' object is not callable", "Does the line that makes it end in a comma?"),
        (
            r"shape '.*' is invalid for input of size",
            "Images come in batches, the last of which is smaller: keep the first side, as in x.view(len(x), -1).",
        ),
        (r"(list|tuple) is not a Module subclass", "Give the layers one by one, as in nn.Sequential(*layers)."),
        (r"Can't call numpy\(\) on Tensor", "Compute with torch in forward: nothing is learnt through NumPy."),
        (r"mat1 and mat2 must have the same dtype", "Networks get float32: leave out .double() and .half()."),
        (r"Target -?\d+ is out of bounds", "The last layer needs an output for each class of the dataset, from 0 on."),
        (
            r"device-side assert",
            "Most often a label is no class that the output has: the last layer needs one for each.",
        ),
        (r"No module named", "Networks have PyTorch, torchvision, NumPy and Python's own library."),
    )
)
LUA = re.compile(r"^\s*(local\b|require\b|function\b|return\s+function\b|end\b|--)")


def hint(error: BaseException, filename: str) -> str:
    """A sentence, or "" where there is nothing to add."""
    said = str(error)
    if "NoneType" in said and "n_classes" in _line_of(error, filename):
        return "params.n_classes is None here: the dataset has no classes. Write their number."
    for pattern, advice in SENTENCES:
        if pattern.search(said):
            return advice
    if isinstance(error, AttributeError) and error.name:
        return _about_attribute(error.obj, error.name)
    return _about_name(error, error.name, filename) if isinstance(error, NameError) and error.name else ""


def hint_on_syntax(text: str, line: int | None) -> str:
    lines = text.splitlines()
    is_lua = line is not None and line <= len(lines) and LUA.match(lines[line - 1])
    return " Is this Lua? Choose Torch above the text." if is_lua else ""


def _about_attribute(owner: object, name: str) -> str:
    if isinstance(owner, nn.Module) and hasattr(Tensor, name):
        kind = type(owner).__name__
        return f"{kind}(…) makes a layer, and a layer is called with its input: {kind}(…)(x)."
    return _meant(name, dir(owner)) if owner is not None else ""


def _about_name(error: NameError, name: str, filename: str) -> str:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == filename]
    if not frames or isinstance(error, UnboundLocalError):
        return ""
    of_frame = frames[-1].f_locals
    if "self" in of_frame and hasattr(of_frame["self"], name):
        return f"Is self.{name} meant?"
    return _meant(name, [*of_frame, *frames[-1].f_globals, *dir(builtins)])


def _meant(wrong: str, names: Iterable[str]) -> str:
    # Capitals are the most common slip of all.
    in_small = {name.lower(): name for name in names if not name.startswith("_")}
    near = difflib.get_close_matches(wrong.lower(), in_small, n=1, cutoff=0.75)
    return f"Is {in_small[near[0]]} meant?" if near else ""


def _line_of(error: BaseException, filename: str) -> str:
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == filename]
    return linecache.getline(filename, lines[-1]) if lines else ""
