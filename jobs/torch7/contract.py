"""What a network pasted as Lua must return: the contract of DIGITS's Torch7, given as the same `Network` as Python's."""

import difflib
from collections.abc import Callable
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import lupa.lua51 as lupa
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from jobs.errors import BadNetwork
from jobs.networks.contract import LabelHook, LineOfModule, Network, NetworkParams, label_itself
from jobs.networks.names import layer_name
from jobs.torch7.criteria import ClassNLLCriterion
from jobs.torch7.history import History
from jobs.torch7.kept import KeptInLua
from jobs.torch7.module import Criterion, describe
from jobs.torch7.own_class import tensors_of
from jobs.torch7.runtime import SECONDS_TO_BUILD, Runtime

FILENAME = "network.lua"
FIELDS = ("model", "loss", "trainBatchSize", "validationBatchSize", "labelHook", "croplen", "fineTuneHook")
ADVICE = "return function(params) return { model = …, loss = nn.MSECriterion() } end"


def build_lua_network(
    text: str,
    params: NetworkParams,
    load_weights: Callable[[nn.Module], None] | None = None,
    history: History | None = None,
) -> Network:
    """Run a text of Lua and the function that it returns; BadNetwork, with the line to blame, when that fails.

    Seed before the call: the text makes its weights when it runs. `load_weights` gets the model before the text's
    `fineTuneHook` does. A `history` is told what becomes of weights.
    """
    runtime = Runtime(params.n_gpus, history=history)
    with runtime.time_limit(SECONDS_TO_BUILD):
        return _built(runtime, text, params, load_weights)


def _built(
    runtime: Runtime, text: str, params: NetworkParams, load_weights: Callable[[nn.Module], None] | None
) -> Network:
    function = runtime.run(text)
    if lupa.lua_type(function) != "function":
        raise BadNetwork(f"The text must return a function, and it returns {_kind(function)}. End it with: {ADVICE}.")
    returned = runtime.call(function, _params(params))
    if lupa.lua_type(returned) != "table":
        raise BadNetwork(f"The function must return a table, and it returns {_kind(returned)}: {ADVICE}.")
    _refuse_misspelt(returned)
    returned = {name: runtime.parts.raw(returned, name) for name in FIELDS}
    model = _model(runtime, returned["model"], load_weights, returned["fineTuneHook"])
    runtime.objects.complete(model)
    loss = _loss(runtime, returned["loss"])
    return Network(
        model=model,
        loss=loss,
        train_batch_size=_count(returned, "trainBatchSize", 16),
        validation_batch_size=_count(returned, "validationBatchSize", 16),
        label_hook=_label_hook(runtime, returned["labelHook"]),
        crop_size=_count(returned, "croplen", None),
        filename=FILENAME,
        lines=_lines(runtime),
        framework="torch",
        printed=describe(model),
        kept=KeptInLua(runtime, returned, [part for part in (model, loss) if isinstance(part, nn.Module)]),
    )


def _refuse_misspelt(returned: Any) -> None:
    """What else is in the table DIGITS did not look at; a field that is nearly one of ours is a slip."""
    in_small = {field.lower(): field for field in FIELDS}
    for name in map(str, returned.keys()):
        near = difflib.get_close_matches(name.lower(), in_small, n=1, cutoff=0.85)
        if near and name not in FIELDS:
            raise BadNetwork(f"The table has a field `{name}`, which nobody reads; is `{in_small[near[0]]}` meant?")


def _params(params: NetworkParams) -> dict[str, Any]:
    """Torch7's names. What is not known is not there, which is nil."""
    given: dict[str, Any] = {
        "ngpus": params.n_gpus,
        "nclasses": params.n_classes,
        "inputShape": torch.tensor(params.input_shape, dtype=torch.float64),
    }
    return {name: value for name, value in given.items() if value is not None}


def _model(runtime: Runtime, model: Any, load_weights: Callable[[nn.Module], None] | None, fine_tune: Any) -> nn.Module:
    if lupa.lua_type(model) != "table":
        raise BadNetwork(f"The table has no model: its field `model` is {_kind(model)}. {ADVICE}")
    _refuse_class(runtime, "model", model)
    built = _completed(runtime, model)
    if load_weights is not None:
        load_weights(built)
    if fine_tune is not None:
        if lupa.lua_type(fine_tune) != "function":
            _refuse("fineTuneHook", fine_tune, "a function that gets the model and returns the one to train")
        built = _completed(runtime, runtime.call(fine_tune, model))
        if runtime.history is not None:
            runtime.history.is_fine_tuned = True
    if isinstance(built, Criterion):
        raise BadNetwork(f"The model is {describe(built)}, a criterion. Give that as the loss.")
    return built


def _completed(runtime: Runtime, model: Any) -> nn.Module:
    if lupa.lua_type(model) != "table":
        raise BadNetwork(f"A model is an object of nn, and this is {_kind(model)}.")
    try:
        return runtime.objects.module_of(model)
    except RecursionError as error:
        raise BadNetwork(
            "The model cannot be built: its modules lie too deep in each other, or one in itself."
        ) from error
    except (TypeError, ValueError) as error:
        raise BadNetwork(f"The model cannot be built: {error}.") from error


def _loss(runtime: Runtime, loss: Any) -> Callable[[Any, Any], Tensor]:
    if loss is None:
        return ClassNLLCriterion()
    try:
        found = runtime.to_python(loss) if lupa.lua_type(loss) == "table" else loss
    except ValueError as error:
        raise BadNetwork(f"The loss cannot be used: {error}.") from error
    if isinstance(found, nn.Module) and not isinstance(found, Criterion):
        raise BadNetwork(f"`loss` is {layer_name(found)}, a layer; it must be a criterion such as nn.MSECriterion().")
    if not isinstance(found, Criterion):
        _refuse_class(runtime, "loss", loss)
        _refuse("loss", loss, "a criterion such as nn.MSECriterion()")
    return found


def _label_hook(runtime: Runtime, hook: Any) -> LabelHook:
    if hook is None:
        return _float_labels
    if lupa.lua_type(hook) != "function":
        _refuse("labelHook", hook, "a function(input, dblabel) that returns the target")
    if runtime.history is not None:
        runtime.history.hook_lines = runtime.lines_of(hook)

    def call_hook(images: Tensor, labels: Tensor) -> Any:
        with runtime.gradients.label_hook():
            returned = runtime.call(hook, images, _float_labels(images, labels))
        target = runtime.to_python(returned)
        if not tensors_of(target):
            raise BadNetwork(
                f"labelHook returned {_kind(returned)}; it must return the target, a tensor or a table of tensors."
            )
        return tree_map(lambda part: part.to(images.device) if isinstance(part, Tensor) else part, target)

    return call_hook


def _float_labels(images: Tensor, labels: Tensor) -> Tensor:
    """Torch's training casts targets to the type of the images."""
    return label_itself(images, labels).to(images.dtype)


def _count(returned: Any, name: str, default: Any) -> Any:
    value = returned[name]
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 1:
        _refuse(name, value, "a whole number, 1 or more")
    return int(value)


def _lines(runtime: Runtime) -> LineOfModule:
    lines: LineOfModule = WeakKeyDictionary()
    lines.update(runtime.lines)
    return lines


def _refuse_class(runtime: Runtime, name: str, value: Any) -> None:
    """A class in the place of an object of it: its brackets were forgotten."""
    named = runtime.parts.name_of_class(value) if lupa.lua_type(value) == "table" else None
    if named is not None:
        raise BadNetwork(f"`{name}` is the class {named}; make one of it: {named}(…).")


def _refuse(name: str, value: Any, wanted: str) -> NoReturn:
    raise BadNetwork(f"`{name}` is {_kind(value)}; it must be {wanted}.")


def _kind(value: Any) -> str:
    if value is None:
        return "nil"
    kind = lupa.lua_type(value)
    if kind is not None:
        return f"a {kind}"
    return f"{value!r}" if isinstance(value, bool | int | float | str) else type(value).__name__
