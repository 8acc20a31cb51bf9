"""A network of Lua written as a text of Python that makes the same one, with the same weights from the same seed."""

import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Any

import torch
from torch import Tensor, nn

from jobs.networks.contract import Network
from jobs.torch7.criteria import ClassNLLCriterion, SeveralCriteria
from jobs.torch7.graph import GraphModule
from jobs.torch7.history import INITIALIZERS, Changed, Copied, DrawnAnew, Flattened, History, Made
from jobs.torch7.linear import Linear
from jobs.torch7.module import CLASSES, Container, MadeOf, TorchModule, describe, members
from jobs.torch7.own_class import LuaModule
from jobs.torch7.own_criterion import LuaCriterion
from jobs.torch7.sharing import parts_of
from jobs.torch7.twins import CannotWrite, Pass, call, literal, to_write, twin

LONGEST_LINE = 100
DEFAULT_BATCH_SIZE = 16
FINE_TUNED = (
    "fineTuneHook has been run, and this is the network after it: give it no pretrained weights of the network before."
)
# What has no meaning in Python, or is written elsewhere.
NOT_WRITTEN = frozenset({"in_place", "input_sides", "made_of", "shared_parts", "training"})
# Names that the text itself needs.
TAKEN = frozenset(
    {
        *keyword.kwlist,
        *dir(builtins),
        *("torch", "nn", "F", "Scale", "torch7", "copy"),
        *("network", "label_hook", "params", "model", "loss", "weights", "all_weights", "TransposedLinear"),
    }
)
TRANSPOSED = '''class TransposedLinear(nn.Linear):
    """A linear layer that has the weights of another, transposed, and a bias of its own."""

    def share(self, other):
        self.weight = None
        # In a list, so that the other layer is not a part of this one.
        self.others = [other]

    def forward(self, input):
        return F.linear(input, self.others[0].weight.t(), self.bias)'''

Passes = Mapping[nn.Module, Sequence[Pass]]


@dataclass(frozen=True)
class Note:
    """What could not be turned into Python, or is otherwise there."""

    text: str
    line: int | None = None


class PythonWriter:
    """Writes one network. `notes` has afterwards what is missing in the text, and `is_complete` whether it can run."""

    def __init__(self, lua: str, network: Network, history: History, passes: Passes) -> None:
        self._lua = lua
        self._network = network
        self._history = history
        self._passes = passes
        self._statements: list[str] = []
        # By their names in Python; and those names by the text's own.
        self._classes: dict[str, str] = {}
        self._own_classes: dict[str, str] = {}
        self._names: dict[nn.Module, str] = {}
        self._numbers: Counter[str] = Counter()
        self._made_again: dict[nn.Module, nn.Module | None] = {}
        self._needs_copy = False
        self._uses = Counter(_references(network.model))
        self.notes: list[Note] = []
        self.is_complete = True

    def text(self, hook: str, images: str) -> str:
        """The whole text; `hook` is the label hook's function, or empty, and `images` the shape of those that fit."""
        if self._history.is_fine_tuned:
            self.notes.append(Note(FINE_TUNED))
        if self._order_matters():
            self._write_history()
        model = self._expression(self._network.model)
        loss = self._loss()
        if self._names.get(self._network.model) is None:
            self._statements.append(f"model = {model}")
            model = "model"
        returned = {"model": model, "loss": loss, "train_batch_size": self._network.train_batch_size,
                    "validation_batch_size": self._network.validation_batch_size,
                    "crop_size": self._network.crop_size}  # fmt: skip
        usual = {"train_batch_size": DEFAULT_BATCH_SIZE, "validation_batch_size": DEFAULT_BATCH_SIZE, "crop_size": None}
        lines = [f'"{key}": {value},' for key, value in returned.items() if key not in usual or value != usual[key]]
        if hook:
            lines.append('"label_hook": label_hook,')
        body = [*self._statements, "return {", *(f"    {line}" for line in lines), "}"]
        function = "def network(params):\n" + indent("\n".join(body), "    ")
        parts = ["import copy" if self._needs_copy else "", *self._classes.values(), hook, function]
        text = "\n\n\n".join(part for part in parts if part) + "\n"
        own = (
            " torch7 has the classes of Torch7 that PyTorch does not have, or has otherwise."
            if "torch7." in text
            else ""
        )
        return f"# Made from Lua, for images of {images}.{own}\n\n\n{text}"

    # In which order weights are drawn

    def _order_matters(self) -> bool:
        """Whether the weights come out otherwise when the modules are made as they stand in the model."""
        parameters: list[nn.Parameter] = []
        in_model: list[nn.Module] = []
        for module in _in_order(self._network.model):
            if _own_parameters(module) and not isinstance(module, LuaModule):
                in_model.append(module)
                parameters += _own_parameters(module).values()
        is_shared = len(set(parameters)) < len(parameters) or any(map(parts_of, in_model))
        made = [step.module for step in self._history.steps if isinstance(step, Made) and _own_parameters(step.module)]
        while made and not self._uses[made[-1]]:
            made.pop()
        changed = any(
            (isinstance(step, DrawnAnew | Copied) and step.module in in_model)
            or (isinstance(step, Changed) and self._is_of_weight(step))
            for step in self._history.steps
        )
        needs_more = any(self._further_statements(module, "") for module in in_model)
        return is_shared or changed or needs_more or made != in_model

    def _is_of_weight(self, step: Changed) -> bool:
        flat = [one.flat for one in self._history.steps if isinstance(one, Flattened)]
        return any(step.is_of(tensor) for tensor in [*_state(self._network.model), *flat])

    def _write_history(self) -> None:
        drawn_last = max(
            (
                place
                for place, step in enumerate(self._history.steps)
                if isinstance(step, Made | Copied | DrawnAnew) and self._uses[step.module]
            ),
            default=-1,
        )
        for place, step in enumerate(self._history.steps):
            match step:
                case Made(module) | Copied(module) if place > drawn_last:
                    # What is drawn last, and not used, changes nothing.
                    continue
                case Made(module) if _own_parameters(module):
                    self._assign(module, self._new(module), is_used=self._uses[module] > 0)
                case Copied(module, original) if _own_parameters(module) and original in self._names:
                    self._needs_copy = True
                    self._assign(module, f"copy.deepcopy({self._names[original]})", is_used=self._uses[module] > 0)
                case DrawnAnew(module, arguments) if module in self._names:
                    self._statements += self._drawn_anew(module, *arguments)
                case Changed():
                    self._write_change(step)
        self._write_sharing()

    def _assign(self, module: nn.Module, expression: str, is_used: bool = True) -> str:
        made_of = module.made_of if isinstance(module, TorchModule) else None
        said = re.sub(r"^(Spatial|Volumetric|Temporal)", "", made_of.name if made_of else type(module).__name__)
        kind = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", said).lower()
        self._numbers[kind] += 1
        self._names[module] = name = f"{kind}_{self._numbers[kind]}"
        comment = "" if is_used else "  # Not in the model; it draws weights before those that are."
        self._statements.append(f"{name} = {expression}{comment}")
        self._statements += self._further_statements(module, name)
        return name

    def _drawn_anew(self, module: nn.Module, deviation: float | None = None) -> Iterator[str]:
        name = self._names[module]
        if twin(module, ()) is None:
            yield f"{name}.reset({'' if deviation is None else literal(deviation)})"
        elif deviation is None:
            yield f"{name}.reset_parameters()"
        else:
            bound = literal(deviation * 3**0.5)
            for parameter in _own_parameters(module):
                yield f"nn.init.uniform_({name}.{parameter}, -{bound}, {bound})"

    def _write_change(self, step: Changed) -> None:
        target = self._target(step)
        if target is not None:
            self._statements += self._changed(step, target)
            return
        for flattened in self._history.steps:
            if isinstance(flattened, Flattened) and step.is_of(flattened.flat):
                names = [self._name_of(parameter) for parameter in flattened.parameters]
                if None in names:
                    self.notes.append(Note("The Lua changes all weights at once, and some of them only Lua has."))
                    continue
                weights = ", ".join(map(str, names))
                self._statements += [
                    f"weights = [{weights}]",
                    "all_weights = nn.utils.parameters_to_vector(weights).detach()",
                    *self._changed(step, "all_weights"),
                    "nn.utils.vector_to_parameters(all_weights, weights)",
                ]

    def _changed(self, step: Changed, target: str) -> list[str]:
        try:
            arguments = [literal(argument) for argument in step.arguments]
        except CannotWrite as error:
            self.notes.append(Note(f"The Lua sets {target} from {error}, which is too much to write here."))
            return []
        if step.method in INITIALIZERS:
            return [f"nn.init.{INITIALIZERS[step.method]}({', '.join([target, *arguments])})"]
        return [f"{target}.data.{step.method}_({', '.join(arguments)})"]

    def _target(self, step: Changed) -> str | None:
        for module, name in self._names.items():
            for field, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if step.is_of(tensor):
                    return f"{name}.{field}"
        return None

    def _name_of(self, parameter: nn.Parameter) -> str | None:
        found = (
            f"{name}.{field}"
            for module, name in self._names.items()
            for field, own in _own_parameters(module).items()
            if own is parameter
        )
        return next(found, None)

    def _write_sharing(self) -> None:
        owners: dict[nn.Parameter, str] = {}
        for module, name in self._names.items():
            for field, parameter in _own_parameters(module).items():
                if parameter in owners:
                    self._statements.append(f"{name}.{field} = {owners[parameter]}")
                owners.setdefault(parameter, f"{name}.{field}")
        for module, name in self._names.items():
            for part in parts_of(module).values():
                self._statements.append(f"{name}.share({owners[part.whole].rpartition('.')[0]})")

    # Modules

    def _expression(self, module: nn.Module) -> str:
        if module in self._names:
            return self._names[module]
        if isinstance(module, SeveralCriteria):
            return self._several(module)
        expression = self._new(module)
        if self._uses[module] > 1 or self._further_statements(module, ""):
            return self._assign(module, expression)
        return expression

    def _new(self, module: nn.Module) -> str:
        """How the module is made, before anything is done to it."""
        if isinstance(module, LuaModule | LuaCriterion):
            return self._own_class(module)
        if isinstance(module, GraphModule):
            return self._graph(module)
        if isinstance(module, Container):
            return self._container(module)
        if parts_of(module):
            return self._with_parts(module)
        return self._twin(module) or self._call_of_torch(module)

    def _with_parts(self, module: nn.Module) -> str:
        """A layer that has a part of another's weights: a linear one, whose weights are the other's transposed."""
        weight = parts_of(module).get("weight")
        if not isinstance(module, Linear) or weight is None or not weight.is_transposed:
            raise CannotWrite(f"{describe(module)}, which has a part of the weights of another layer")
        self._classes["TransposedLinear"] = TRANSPOSED
        return call("TransposedLinear", module.in_features, module.out_features)

    def _twin(self, module: nn.Module) -> str | None:
        passes = self._passes.get(module, ())
        if not _own_parameters(module):
            return twin(module, passes)
        # Its weights are drawn as it is made; what was done to it since is written after it.
        as_made = self._as_made(module)
        return None if as_made is None or _differences(module, as_made) else twin(as_made, passes)

    def _as_made(self, module: nn.Module) -> nn.Module | None:
        """Another one from the same arguments."""
        if module not in self._made_again:
            made_of = module.made_of if isinstance(module, TorchModule) else None
            has_values = not _own_parameters(module)
            self._made_again[module] = None if made_of is None else _made_again(made_of, has_values)
        return self._made_again[module]

    def _call_of_torch(self, module: nn.Module) -> str:
        made_of = module.made_of if isinstance(module, TorchModule) else None
        if made_of is None:
            raise CannotWrite(f"{describe(module)}, which Lua computes itself")
        return f"torch7.{made_of.name}({', '.join(map(self._argument, made_of.arguments))})"

    def _argument(self, value: Any) -> str:
        return self._expression(value) if isinstance(value, nn.Module) else literal(value)

    def _further_statements(self, module: nn.Module, name: str) -> list[str]:
        """What is done to the module after it is made, but for its weights."""
        if isinstance(module, Container | LuaModule | LuaCriterion | SeveralCriteria):
            return []
        as_made = self._as_made(module)
        if as_made is None:
            return []
        taken_out = _own_parameters(as_made).keys() - _own_parameters(module).keys() - parts_of(module).keys()
        lines = [f"{name}.{field} = None" for field in sorted(taken_out)]
        frozen = [field for field, own in _own_parameters(module).items() if not own.requires_grad]
        if frozen and len(frozen) == len(_own_parameters(module)):
            lines.append(f"{name}.requires_grad_(False)")
        else:
            lines += [f"{name}.{field}.requires_grad_(False)" for field in frozen]
        lines += [f"{name}.{field} = {literal(buffer)}" for field, buffer in _buffers_set(module, as_made)]
        if parts_of(module) or self._twin(module) is None:
            lines += [f"{name}.{field} = {literal(value)}" for field, value in _differences(module, as_made).items()]
        return lines

    def _container(self, module: Container) -> str:
        children = [self._expression(child) for child in members(module)]
        if module.torch_name == "nn.Sequential":
            return _listed("nn.Sequential(", children, ")")
        name = module.made_of.name if module.made_of else module.torch_name.removeprefix("nn.")
        arguments = "".join(
            f", {literal(argument)}" for argument in (module.made_of.arguments if module.made_of else ())
        )
        return _listed(f"torch7.{name}([", children, f"]{arguments})")

    def _graph(self, module: GraphModule) -> str:
        children = [
            f"{self._expression(child)},  # {place}" + (f", after {', '.join(map(str, parents))}" if parents else "")
            for place, (child, parents) in enumerate(zip(members(module), module.parents, strict=True))
        ]
        rest = [f"parents={[list(of_node) for of_node in module.parents]},",
                f"inputs={list(module.inputs)},", f"outputs={list(module.outputs)},"]  # fmt: skip
        nodes = indent("\n".join(children), "        ")
        return f"torch7.gModule(\n    [\n{nodes}\n    ],\n{indent(chr(10).join(rest), '    ')}\n)"

    def _own_class(self, module: LuaModule | LuaCriterion) -> str:
        """A class of the text's own: what it computes, only Lua knows."""
        self.is_complete = False
        said = module.class_name
        if said not in self._own_classes:
            self._own_classes[said] = name = self._free_name(said)
            lines = module.lines_of_output
            head = f"def forward(self, {'input' if isinstance(module, LuaModule) else 'output, target'}):"
            forward = to_write(head, lines_of_text(self._lua, lines), f"{said}:updateOutput")
            self._classes[name] = "\n".join([f"class {name}(nn.Module):", indent(forward, "    ")])
            text = (
                f"{said} is a class of the text's own: write its forward by hand, in the class {name}, and what it is "
                "made of, which is not there."
            )
            self.notes.append(Note(text, lines[0] if lines else self._network.line_of(module)))
        return f"{self._own_classes[said]}()"

    def _free_name(self, said: str) -> str:
        """A name of Python for a class that has this one in Lua."""
        name = re.sub(r"[^0-9A-Za-z_]", "", said.rpartition(".")[2])
        if not name or name[0].isdigit() or name in TAKEN:
            name = f"Own{name}"
        number = 1
        while (free := name if number == 1 else f"{name}{number}") in self._classes:
            number += 1
        return free

    def _several(self, loss: SeveralCriteria) -> str:
        name = self._assign(loss, self._call_of_torch(loss))
        for criterion, factor in zip(loss.criteria, loss.factors, strict=True):
            self._statements.append(f"{name}.add({self._expression(criterion)}, {literal(factor)})")
        return name

    def _loss(self) -> str:
        loss = self._network.loss
        assert isinstance(loss, nn.Module)
        if type(loss) is ClassNLLCriterion and loss.made_of is None:
            # The one of a text that names none.
            return "torch7.ClassNLLCriterion()"
        return self._expression(loss)


def lines_of_text(text: str, lines: tuple[int, int] | None) -> list[str]:
    """From the first to the last, without what all of them are indented by."""
    return dedent("\n".join(text.splitlines()[lines[0] - 1 : lines[1]])).splitlines() if lines else []


def _listed(begin: str, parts: Sequence[str], end: str) -> str:
    """A call with many arguments: on one line where they fit, else each on its own."""
    line = f"{begin}{', '.join(parts)}{end}"
    if len(line) <= LONGEST_LINE and "\n" not in line and len(parts) < 3:
        return line
    return f"{begin}\n{indent(chr(10).join(f'{part},' for part in parts), '    ')}\n{end}"


def _references(model: nn.Module) -> Iterator[nn.Module]:
    """Every module as often as it stands somewhere in the model, in the order in which they are made."""
    for child in members(model) if isinstance(model, Container | LuaModule) else ():
        yield from _references(child)
    made_of = model.made_of if isinstance(model, TorchModule) else None
    for argument in made_of.arguments if made_of else ():
        if isinstance(argument, nn.Module):
            yield argument
    yield model


def _in_order(model: nn.Module) -> list[nn.Module]:
    return list(dict.fromkeys(_references(model)))


def _own_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    return dict(module.named_parameters(recurse=False))


def _state(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _made_again(made_of: MadeOf, with_values: bool) -> nn.Module:
    """Another module from the same arguments; without values where they are not looked at, for they take time and memory."""
    make: Any = CLASSES[made_of.name]
    with torch.random.fork_rng([]), torch.device("cpu" if with_values else "meta"):
        module: nn.Module = make(*made_of.arguments)
    return module


def _buffers_set(module: nn.Module, as_made: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Buffers of a module without weights that hold something else by now, such as a criterion's weights of classes."""
    before = dict(as_made.named_buffers(recurse=False))
    for field, buffer in module.named_buffers(recurse=False) if not _own_parameters(module) else ():
        if field not in before or before[field].shape != buffer.shape or not torch.equal(before[field], buffer):
            yield field, buffer


def _differences(module: nn.Module, as_made: nn.Module) -> dict[str, Any]:
    """Attributes that were set after the module was made."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name not in NOT_WRITTEN
        and not isinstance(value, Tensor | nn.Module)
        and vars(as_made).get(name) != value
    }
