"""Notices what a network changes while it trains and no snapshot holds, so that the page can name it."""

import logging
import random
import re
import sys
import zlib
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.networks.contract import MODULE_NAME, Network
from jobs.training.outside import what_is_left_out
from jobs.training.plain_values import SCALARS, Owned
from jobs.training.text_values import TextValues, content_of, is_hidden

# Of one name. What lies behind is not seen: a look must cost little, whatever a text holds.
MOST_VALUES = 20_000
# Of a tensor so many numbers, evenly spread, are looked at; an array is read whole up to so many bytes.
MOST_NUMBERS = 65_536
MOST_BYTES = 2**26
# Of plain values that are compared themselves.
LONGEST = 1000
# Their insides are nothing that a training depends on.
PASSED_OVER = (ModuleType, logging.Logger, logging.Handler)
ADDRESS = re.compile(r"0x[0-9a-f]+")


@dataclass(frozen=True)
class Changed:
    """Names of what has changed: variables, and attributes of modules that hold what cannot be kept."""

    variables: list[str]
    attributes: list[str]


class OutsideWatch:
    """Notices what a text keeps and changes while it trains, where no snapshot holds it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._variables, self._attributes = self._looks()
        self._told: set[str] = set()

    def changed(self) -> Changed:
        """What is not as it was at first, each told once."""
        if self._network.kept is not None:
            return Changed(self._not_told(self._network.kept.lost()), [])
        variables, attributes = self._looks(but_held=True)
        # A new one counts, too: it was not there, or was of a kind that can be kept.
        return Changed(
            self._not_told(name for name, look in variables.items() if self._variables.get(name) != look),
            self._not_told(name for name, look in attributes.items() if self._attributes.get(name) != look),
        )

    def _not_told(self, names: Iterable[str]) -> list[str]:
        found = sorted(set(names) - self._told)
        self._told.update(found)
        return found

    def _looks(self, but_held: bool = False) -> tuple[dict[str, Hashable], dict[str, Hashable]]:
        """At variables, but for those that a module keeps, too, and at attributes."""
        if self._network.framework != "pytorch":
            return {}, {}
        left_out, taker = what_is_left_out(self._network)
        text = TextValues(self._network)
        named = [*text.functions, *text.classes]
        variables = {
            name: Look(taker.owned, named).at(values)
            for name, values in text.variables().items()
            if not (but_held and all(map(taker.has, values)))
        }
        return variables, {name: Look(taker.owned).at(value) for name, value in left_out.items()}


class Look:
    """What a value looks like, to be compared with a later look. Nothing is copied, and of much not all is looked at.

    Weights are not looked at, nor functions and classes that have names of their own.
    """

    _numbers = count()

    def __init__(self, owned: Owned, named: Iterable[object] = ()) -> None:
        self._owned = owned
        self._seen = {id(value): -1 for value in named}
        self._left = MOST_VALUES

    def at(self, value: Any) -> Hashable:
        kind = type(value)
        if id(kind) in SCALARS:
            return repr(value) if kind is float else value
        if self._owned.has(value):
            return "owned"
        if id(value) in self._seen:
            return "seen", self._seen[id(value)]
        # Asks nothing of the class.
        name = type.__repr__(kind)
        self._left -= 1
        if self._left < 0:
            return name
        self._seen[id(value)] = len(self._seen)
        try:
            inside = next((look(self, value) for types, look in LOOKS if isinstance(value, types)), None)
            return name, self._at_object(value) if inside is None else inside
        except (Exception, SystemExit):  # noqa: BLE001  objects of the user's may raise anything where they are touched
            return name

    def all(self, values: Any) -> Hashable:
        parts = list(values)
        if len(parts) > LONGEST and {id(type(part)) for part in parts} <= SCALARS:
            return len(parts), hash(tuple(parts))
        return tuple(self.at(part) for part in parts)

    def at_mapping(self, value: dict[Any, Any]) -> Hashable:
        return self.all(value.keys()), self.all(value.values())

    def at_module(self, module: nn.Module) -> Hashable:
        """One that is no part of the network."""
        return self.at_mapping({key: value for key, value in vars(module).items() if key != "training"})

    def at_function(self, value: FunctionType) -> Hashable:
        if value.__module__ != MODULE_NAME:
            return None, value.__qualname__
        cells = [content_of(cell) for cell in value.__closure__ or ()]
        return self.all([*cells, value.__defaults__, value.__kwdefaults__, vars(value)])

    def at_class(self, value: type) -> Hashable:
        of_text = value.__module__ == MODULE_NAME
        return self.at_mapping({key: kept for key, kept in vars(value).items() if of_text and not is_hidden(key)})

    def at_generator(self, value: "GeneratorType[Any, Any, Any]") -> Hashable:
        frame = value.gi_frame
        return "ended" if frame is None else (frame.f_lasti, self.at_mapping(frame.f_locals))

    def at_iterator(self, value: Iterator[Any]) -> Hashable:
        """Where it is, when it says so; else it is taken for one that goes on."""
        try:
            place = value.__reduce__()
        except Exception:  # noqa: BLE001  some refuse in ways of their own
            return "goes on", next(self._numbers)
        return self.at(place)

    def _at_object(self, value: Any) -> Hashable:
        kind = type(value)
        if hasattr(kind, "__next__"):
            return self.at_iterator(value)
        fields = dict(getattr(value, "__dict__", {}))
        if not fields and kind.__module__.partition(".")[0] in sys.stdlib_module_names:
            return ADDRESS.sub("", repr(value))
        for owner in kind.__mro__:
            slots = vars(owner).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                fields[name] = getattr(value, name, None)
        return self.at_mapping(fields)


def _look_at_tensor(look: Look, value: Tensor) -> Hashable:
    if value.is_nested:
        return look.all(value.unbind())
    geometry = (str(value.dtype), str(value.layout), tuple(value.shape))
    if value.layout is not torch.strided or value.is_quantized or value.device.type not in ("cpu", "cuda"):
        return geometry
    if value.numel() <= MOST_NUMBERS:
        return geometry, _sum_of(value)
    version = 0 if value.is_inference() else value._version
    step = value.numel() // MOST_NUMBERS
    return geometry, version, _sum_of(value.detach().view(-1)[::step]) if value.is_contiguous() else 0


def _sum_of(tensor: Tensor) -> int:
    numbers = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    # As bytes: NumPy does not know all of torch's kinds of numbers.
    return zlib.crc32(numbers.view(torch.uint8).numpy().tobytes())


def _look_at_array(look: Look, value: "np.ndarray[Any, Any]") -> Hashable:
    geometry = (value.dtype.str, value.shape)
    if value.dtype.hasobject:
        return geometry, look.all(value.ravel()[:MOST_NUMBERS].tolist())
    step = 1 if value.nbytes <= MOST_BYTES else max(1, value.size // MOST_NUMBERS)
    return geometry, zlib.crc32(np.ascontiguousarray(value).tobytes() if step == 1 else value.flat[::step].tobytes())


# By the first row that fits.
LOOKS: list[tuple[Any, Callable[[Look, Any], Hashable]]] = [
    (PASSED_OVER, lambda look, value: "passed over"),
    (Tensor, _look_at_tensor),
    (nn.Module, Look.at_module),
    (np.ndarray, _look_at_array),
    (np.generic, lambda look, value: repr(value)),
    (random.Random, lambda look, value: hash(value.getstate())),
    (np.random.Generator, lambda look, value: look.at(value.bit_generator)),
    (np.random.BitGenerator, lambda look, value: look.at(value.state)),
    (np.random.RandomState, lambda look, value: look.at(value.get_state(legacy=False))),
    ((torch.dtype, torch.device, torch.memory_format), lambda look, value: repr(value)),
    (torch.Generator, lambda look, value: look.at(value.get_state())),
    (dict, Look.at_mapping),
    ((list, tuple, deque), lambda look, value: look.all(value)),
    ((set, frozenset), lambda look, value: frozenset(map(look.at, value))),
    ((bytes, bytearray), lambda look, value: zlib.crc32(value)),
    (FunctionType, Look.at_function),
    (MethodType, lambda look, value: look.all([value.__func__, value.__self__])),
    (partial, lambda look, value: look.all([value.func, value.args, value.keywords])),
    (type, Look.at_class),
    (GeneratorType, Look.at_generator),
]
