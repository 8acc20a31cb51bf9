"""A network built and tried on two images: its layers, or the sentence that says which of them does not fit."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from jobs.errors import BadNetwork, UserError
from jobs.models.generic_image import Framework
from jobs.networks.advice import CROSS_ENTROPY, LIKELIHOOD, Attempt, advice_on
from jobs.networks.contract import (
    MODULE_NAME,
    Network,
    NetworkParams,
    blame_text,
    build_network,
    first_line,
    is_memory_fault,
    label_type,
    line_in_text,
    network_fault,
)
from jobs.networks.hints import hint
from jobs.networks.names import image_shape_name, layer_name
from jobs.networks.tracing import LayerCall, RunningModule, Trace, find_code, tensors_in, traced
from jobs.torch7.faults import counted_from_one
from jobs.torch7.linear import Linear
from jobs.torch7.lookup import TakesIndices
from jobs.torch7.module import Criterion, TorchModule
from jobs.torch7.shapes import Reshape, View
from jobs.torch7.targets import IGNORED_CLASS

ImageShape = tuple[int, int, int]
LoadWeights = Callable[[nn.Module], None]
IMAGES_TRIED = 2
HOOK_ADVICE: dict[Framework, str] = {
    "pytorch": "`label_hook` gives the target: to learn the images themselves, return "
    "label_hook=lambda input, label: input.",
    "torch": "`labelHook` gives the target: to learn the images themselves, return "
    "labelHook = function(input, label) return input end.",
}
# Where the output has sides left and the labels are classes.
CLASSES_ADVICE: dict[Framework, str] = {
    "pytorch": "To tell classes, end the model in nn.Flatten() and nn.Linear(values, classes).",
    "torch": "To tell classes, end the model in nn.View(-1):setNumInputDims(3) and nn.Linear(values, classes).",
}

# What makes labels classes that the loss knows.
CLASSES_FROM: dict[Framework, str] = {
    "pytorch": "label_hook give classes from 0 on",
    "torch": "labelHook give classes from 1 on: labelHook = function(input, label) return label + 1 end",
}


@dataclass(frozen=True)
class LayerInfo:
    """One row of the layers' table; the fields are those of the `network` event."""

    index: int
    name: str
    path: str
    type: str
    shape: list[int] | list[list[int]]
    parameters: int
    line: int | None
    inputs: list[int]


@dataclass(frozen=True)
class NetworkReport:
    """What one pass over two images showed. `code_layer` is the index of the narrowest layer, if there is one inside."""

    layers: list[LayerInfo]
    parameters: int
    loss: float
    output_shape: list[int] | list[list[int]]
    code_layer: int | None
    # The network as Torch prints it, of one in Lua.
    printed: str | None = None
    # What looks wrong, though it can be trained.
    advice: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def cropped_shape(image_shape: Sequence[int], crop_size: int | None) -> ImageShape:
    """The shape that the network sees; UserError when the crop does not fit in the image."""
    channels, height, width = image_shape
    if crop_size is None:
        return channels, height, width
    if crop_size > min(height, width):
        raise UserError(
            f"The crop size, {crop_size}, is bigger than the images: they are {width} wide and {height} high. "
            "Give a smaller crop size, or none."
        )
    return channels, crop_size, crop_size


def build_and_check(
    text: str,
    image_shape: Sequence[int],
    label_shape: Sequence[int],
    crop_size: int | None = None,
    n_classes: int | None = None,
    device: torch.device | str = "cpu",
    framework: Framework = "pytorch",
    load_weights: LoadWeights | None = None,
    images_are_centred: bool = False,
    label_range: tuple[int, int] | None = None,
) -> tuple[Network, NetworkReport]:
    """The network of a pasted text on its device, tried on images and labels of these shapes. The form's crop comes first.

    `label_range` is the lowest and the highest class, where labels are classes.
    """
    device = torch.device(device)
    params = NetworkParams(cropped_shape(image_shape, crop_size), n_classes, n_gpus=int(device.type == "cuda"))
    network = build(framework, text, params, load_weights)
    network.model.to(device)
    if isinstance(network.loss, nn.Module):
        # It may have weights for the classes.
        network.loss.to(device)
    seen_shape = cropped_shape(image_shape, crop_size or network.crop_size)
    return network, check_network(network, seen_shape, label_shape, device, images_are_centred, label_range)


def build(framework: Framework, text: str, params: NetworkParams, load_weights: LoadWeights | None = None) -> Network:
    """The network of a text in the language of its framework. `load_weights` changes the model's first weights."""
    if framework == "torch":
        # Lua is for those who need it.
        from jobs.torch7.contract import build_lua_network  # noqa: PLC0415

        return build_lua_network(text, params, load_weights)
    network = build_network(text, params)
    if load_weights is not None:
        load_weights(network.model)
    return network


def check_network(
    network: Network,
    image_shape: Sequence[int],
    label_shape: Sequence[int],
    device: torch.device | str = "cpu",
    images_are_centred: bool = False,
    label_range: tuple[int, int] | None = None,
) -> NetworkReport:
    """Run two random images forward and backward; BadNetwork says which layer does not fit, or why nothing can be learnt.

    Weights, buffers, random numbers and what is kept in Lua are left as they were.
    """
    device = torch.device(device)
    images, labels = made_up_batch(network, image_shape, label_shape, device, label_range=label_range)
    gpus = [device] if device.type == "cuda" else []
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.model.buffers() if not _is_lazy(buffer)]
    unchanged = network.kept.unchanged() if network.kept else nullcontext()
    with unchanged, torch.random.fork_rng(gpus), traced(network.model) as trace, torch.enable_grad():
        network.model.train()
        with _strays_of(network) as strays:
            output = _try_forward(network, images, trace)
        _refuse_without_parameters(network, strays)
        _refuse_non_finite_layers(network, trace.calls)
        target, loss = _try_loss(network, images, labels, output)
        _try_backward(network, loss)
        _refuse_strays(network, [stray for stray in strays if any(_is_reached(part) for part in _own_weights(stray))])
    with torch.no_grad():
        for buffer, kept in buffers:
            buffer.copy_(kept)
    code = find_code(trace.calls, prod(image_shape))
    return NetworkReport(
        layers=_layer_infos(network, trace.calls),
        parameters=sum(parameter.numel() for parameter in network.model.parameters()),
        loss=loss.item(),
        output_shape=_image_shapes(tuple(tensors_in(output))),
        code_layer=code.index if code else None,
        printed=network.printed,
        advice=tuple(advice_on(Attempt(network, trace.calls, output, target, images_are_centred))),
    )


def made_up_batch(
    network: Network,
    image_shape: Sequence[int],
    label_shape: Sequence[int],
    device: torch.device | str = "cpu",
    count: int = IMAGES_TRIED,
    seed: int = 0,
    label_range: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Noise of the range that mean-subtracted images have, and labels from the lowest to the highest; where those are not
    known, of the first class, which every number of classes has.

    A network that looks its pixels up, as of characters, gets places that are in its table.
    """
    noise = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *image_shape, generator=noise)
    counts = [module.index_count for module in network.model.modules() if isinstance(module, TakesIndices)]
    images = (images * min(counts)).floor() + 1 if counts else images * 255 - 128
    if label_range is None:
        labels = torch.full((count, *label_shape), _first_class(network), dtype=label_type(label_shape))
    else:
        labels = torch.linspace(*label_range, count).round().to(label_type(label_shape))
    return images.to(device), labels.to(device)


def _first_class(network: Network) -> int:
    # Torch's criteria count from 1.
    return int(isinstance(network.loss, Criterion))


def _is_lazy(tensor: Tensor) -> bool:
    return torch.nn.parameter.is_lazy(tensor)


def _try_forward(network: Network, images: Tensor, trace: Trace) -> Any:
    # Gradients from the input on make every edge between layers visible; a first layer that works in place may then
    # not get the leaf itself.
    traced_images = images.clone().requires_grad_().clone()
    trace.feed(traced_images)
    try:
        output = network.model(traced_images)
    except BadNetwork:
        raise
    except (Exception, SystemExit) as error:
        if is_memory_fault(error):
            raise
        raise _layer_fault(network, trace.running, error) from error
    if output is None:
        raise BadNetwork(
            "The model returns nothing; it must return a tensor. Is there a `return` at the end of forward?"
        )
    if not any(True for _ in tensors_in(output)):
        raise BadNetwork(f"The model returns {type(output).__name__}; it must return a tensor.")
    return output


@contextmanager
def _strays_of(network: Network) -> Iterator[list[nn.Module]]:
    """The layers with weights that run within it and are no part of the model, in which nobody would train them."""
    strays: list[nn.Module] = []
    known = set(network.model.modules())

    def note(module: nn.Module, _given: Any) -> None:
        if module not in known and any(part.requires_grad for part in _own_weights(module)):
            known.add(module)
            strays.append(module)

    handle = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield strays
    finally:
        handle.remove()


def _own_weights(module: nn.Module) -> list[nn.Parameter]:
    return list(module.parameters(recurse=False))


def _is_reached(weight: nn.Parameter) -> bool:
    return weight.grad is not None


def _refuse_without_parameters(network: Network, strays: list[nn.Module]) -> None:
    if any(parameter.requires_grad for parameter in network.model.parameters()):
        return
    if any(True for _ in network.model.parameters()):
        raise BadNetwork("The network has no parameters to learn: the text freezes all of its weights.")
    _refuse_strays(network, strays)
    raise BadNetwork("The network has no parameters to learn: no layer of it, such as nn.Linear, has weights.")


def _refuse_strays(network: Network, strays: list[nn.Module]) -> None:
    # What Lua runs by itself is the network's by other ways.
    if not strays or network.framework == "torch":
        return
    line, name = network.line_of(strays[0]), layer_name(strays[0])
    raise BadNetwork(
        f"{_at_line(network, name, line)} computes and is no part of the model, so that nobody trains its weights. A list "
        "of layers has to be nn.ModuleList([…]), a dict nn.ModuleDict({…}), and layers are made in __init__, not in forward. "
        "If it is to stay as it is, freeze it: layer.requires_grad_(False).",
        line,
        name,
    )


def _layer_fault(network: Network, running: list[RunningModule], error: BaseException) -> BadNetwork:
    """The sentence for a forward pass that broke off, naming the layer in which it did."""
    line_of_code = line_in_text(error, network.filename)
    if not running:
        return network_fault(error, network.filename)
    run = running[-1]
    name = layer_name(run.module)
    if run.called_others or type(run.module).__module__ == MODULE_NAME:
        if network.framework == "torch":
            line = network.line_of(run.module)
            return BadNetwork(f"{_at_line(network, name, line)} failed: {_said(network, error, name)}", line, name)
        return network_fault(error, network.filename, name)
    line = network.line_of(run.module) or line_of_code
    where = _at_line(network, name, line)
    reason = _misfit(run) or f"cannot take its input of shape {_shapes_name(run.inputs)}: {_said(network, error, name)}"
    return BadNetwork(f"{where} {reason}", line, name)


def _said(network: Network, error: BaseException, name: str) -> str:
    """What an error says, after a sentence that has named the layer or the loss."""
    if network.framework == "pytorch":
        advice = hint(error, network.filename)
        return first_line(error) + (f". {advice}" if advice else "")
    said, own_name = counted_from_one(first_line(error)), name.partition("(")[0].strip()
    begins = {f"{own_name} takes ": "it takes ", f"{own_name} compares ": "it compares ", f"{own_name}: ": ""}
    begin = next((begin for begin in begins if said.startswith(begin)), "")
    return begins.get(begin, "") + said.removeprefix(begin)


def _at_line(network: Network, name: str, line: int | None) -> str:
    if line is None:
        return name
    return f"line {line}: {name}" if network.framework == "torch" else f"{name} on line {line}"


def _misfit(run: RunningModule) -> str | None:
    """What a layer got and what it takes, for the layers that people join most."""
    if not run.inputs or run.inputs[0].dim() < 1:
        return None
    if isinstance(run.module, Linear) and run.inputs[0].dim() == 1 and len(run.inputs[0]) != run.module.in_features:
        return (
            f"got one row of {len(run.inputs[0])} values, those of all images, and takes {run.module.in_features} an image. "
            "Is :setNumInputDims(3) missing at nn.View(-1)?"
        )
    shape = tuple(run.inputs[0].shape[1:])
    for kind, describe in MISFITS.items():
        if isinstance(run.module, kind):
            return describe(run.module, shape)
    return None


def _linear_misfit(module: nn.Linear, shape: tuple[int, ...]) -> str | None:
    if len(shape) == 1 and shape[0] != module.in_features:
        return f"got {shape[0]} values an image, it takes {module.in_features}."
    if len(shape) < 2 or shape[-1] == module.in_features:
        return None
    missing = "nn.View(-1):setNumInputDims(3)" if isinstance(module, TorchModule) else "nn.Flatten()"
    advice = f" Is {missing} missing before it?" if prod(shape) == module.in_features else ""
    return (
        f"got images of shape {image_shape_name(shape)} and looks at their last side only, {shape[-1]}; "
        f"it takes {module.in_features}.{advice}"
    )


def _convolution_misfit(module: _ConvNd, shape: tuple[int, ...]) -> str | None:
    # Torch takes an input without its batch for one image; with a batch of images that is a mistake.
    if len(shape) != len(module.kernel_size) + 1:
        sides = {1: "length", 2: "height × width", 3: "time × height × width"}[len(module.kernel_size)]
        return f"got images of shape {image_shape_name(shape)}, it takes channels × {sides}."
    return (
        f"got {_count(shape[0], 'channel')}, it takes {module.in_channels}." if shape[0] != module.in_channels else None
    )


def _norm_misfit(module: _NormBase, shape: tuple[int, ...]) -> str | None:
    if not shape or shape[0] == module.num_features:
        return None
    return f"got {_count(shape[0], 'channel')}, it takes {module.num_features}."


def _unflatten_misfit(module: nn.Unflatten, shape: tuple[int, ...]) -> str | None:
    wanted = tuple(module.unflattened_size)
    if module.dim != 1 or len(shape) != 1 or not all(isinstance(side, int) for side in wanted):
        return None
    return f"got {shape[0]} values an image; {image_shape_name(wanted)} are {prod(wanted)}."


def _view_misfit(module: View, shape: tuple[int, ...]) -> str | None:
    values, wanted = prod(shape), module.element_count
    if values % wanted == 0:
        return None
    if -1 in module.sizes:
        return f"got {values} values an image, which is no multiple of {wanted}."
    return f"got {values} values an image; {_sides_are(module.sizes)}."


def _reshape_misfit(module: Reshape, shape: tuple[int, ...]) -> str | None:
    if prod(shape) == module.element_count:
        return None
    return f"got {prod(shape)} values an image; {_sides_are(module.sizes)}."


def _sides_are(sizes: Sequence[int]) -> str:
    return f"it takes {sizes[0]}" if len(sizes) == 1 else f"{image_shape_name(sizes)} are {prod(sizes)}"


MISFITS: dict[type[Any], Callable[[Any, tuple[int, ...]], str | None]] = {
    nn.Linear: _linear_misfit,
    _ConvNd: _convolution_misfit,
    _NormBase: _norm_misfit,
    nn.Unflatten: _unflatten_misfit,
    View: _view_misfit,
    Reshape: _reshape_misfit,
}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def _refuse_non_finite_layers(network: Network, calls: list[LayerCall]) -> None:
    for call in calls:
        if not all(bool(torch.isfinite(output).all()) for output in call.outputs):
            line = network.line_of(call.module)
            name = layer_name(call.module)
            raise BadNetwork(
                f"{_at_line(network, name, line)} gives values that are not finite (NaN or infinity) for images of noise "
                "from -128 to 127.",
                line,
                name,
            )


def _try_loss(network: Network, images: Tensor, labels: Tensor, output: Any) -> tuple[Any, Tensor]:
    """The target and the loss."""
    # In-place layers worked on a copy: this is the input as it was given.
    with blame_text(network.filename):
        target = network.label_hook(images, labels)
    if target is None:
        raise BadNetwork("`label_hook` returns nothing; it must return the target of the loss.")
    _refuse_unknown_classes(network, output, target)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            loss = network.loss(output, target)
        except BadNetwork:
            # A criterion of the text's own, which knows its line.
            raise
        except (Exception, SystemExit) as error:
            if is_memory_fault(error):
                raise
            if line_in_text(error, network.filename) is not None and not isinstance(network.loss, nn.Module):
                raise network_fault(error, network.filename) from error
            reason = _said(network, error, _loss_name(network))
            raise BadNetwork(_misfit_of_target(network, output, target, reason)) from error
    # Torch's losses stretch a target of another shape over the output, with a warning only: never what was meant.
    if any("Using a target size" in str(warning.message) for warning in said):
        raise BadNetwork(_misfit_of_target(network, output, target, "they must have the same shape."))
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shown = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise BadNetwork(f"The loss gives {shown}; it must be one number. Give it reduction='mean', or take its mean.")
    if not bool(torch.isfinite(loss)):
        raise BadNetwork(
            f"{_loss_name(network)} gives {loss.item()} for images of noise and labels of {labels.max().item():g}."
        )
    return target, loss


def _refuse_unknown_classes(network: Network, output: Any, target: Any) -> None:
    """Before the loss is taken: on a GPU a class that the output has no place for would end the process without a word."""
    loss = network.loss
    if not isinstance(loss, CROSS_ENTROPY + LIKELIHOOD) or not isinstance(output, Tensor) or output.dim() < 2:
        return
    # Probabilities of the classes are a target, too.
    if not isinstance(target, Tensor) or (target.is_floating_point() and not isinstance(loss, Criterion)):
        return
    first, count, ignored = _first_class(network), output.shape[1], getattr(loss, "ignore_index", None)
    known = {*range(first, first + count), ignored, IGNORED_CLASS}
    wrong = sorted(set(target.long().flatten().tolist()) - known)
    if not wrong:
        return
    worst, advice = wrong[-1], f"The last layer needs {wrong[-1] + 1 - first} outputs."
    if wrong[0] < first:
        worst, advice = wrong[0], f"Let {CLASSES_FROM[network.framework]}."
    raise BadNetwork(
        f"{_loss_name(network)} gets images of the class {worst}, and the output has only {_count(count, 'class')}, from "
        f"{first} to {first + count - 1}. {advice}"
    )


def _misfit_of_target(network: Network, output: Any, target: Any, reason: str) -> str:
    outputs = _shapes_name(tuple(tensors_in(output)))
    targets = _shapes_name(tuple(tensors_in(target)))
    default = "" if not isinstance(network.loss, nn.NLLLoss) else " (the default where a network names no loss)"
    if isinstance(output, list | tuple) and isinstance(target, Tensor) and network.framework == "pytorch":
        reason = f"the model returns {len(output)} tensors, and this loss takes one"
    return (
        f"The output has shape {outputs} for one image and the target {targets}; {_loss_name(network)}{default} "
        f"cannot compare them: {reason.rstrip('.')}. {_advice_on_target(network, output, target)}"
    ).rstrip()


def _advice_on_target(network: Network, output: Any, target: Any) -> str:
    if isinstance(output, Tensor) and isinstance(target, Tensor):
        if output.shape == target.shape:
            return ""
        if target.dim() < 2 < output.dim():
            return CLASSES_ADVICE[network.framework]
    return HOOK_ADVICE[network.framework]


def _loss_name(network: Network) -> str:
    if isinstance(network.loss, nn.Module):
        return layer_name(network.loss)
    return getattr(network.loss, "__name__", "the loss")


def _try_backward(network: Network, loss: Tensor) -> None:
    parameters = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
    before = [(parameter, parameter.grad, _copy(parameter.grad)) for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        # Not for the parameters alone: what Lua runs itself leaves their gradients there when it is gone through.
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
    except RuntimeError as error:
        if is_memory_fault(error):
            raise
        if "does not require grad" not in str(error):
            raise network_fault(error, network.filename) from error
    is_reached = any(parameter.grad is not None for parameter in parameters)
    for parameter, gradient, values in before:
        parameter.grad = gradient
        if gradient is not None and values is not None:
            gradient.copy_(values)
    if not is_reached:
        raise BadNetwork(
            "The loss does not depend on the network's parameters, so that nothing can be learnt. "
            "Is there a .detach(), a torch.no_grad() or a new tensor on the way?"
        )


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()


def _layer_infos(network: Network, calls: list[LayerCall]) -> list[LayerInfo]:
    infos = []
    counted: set[nn.Module] = set()
    for call in calls:
        # A shared layer's parameters are counted where it is first called.
        parameters = 0 if call.module in counted else sum(part.numel() for part in call.module.parameters())
        counted.add(call.module)
        infos.append(
            LayerInfo(
                index=call.index,
                name=layer_name(call.module),
                path=call.path,
                type=type(call.module).__name__,
                shape=_image_shapes(call.outputs),
                parameters=parameters,
                line=network.line_of(call.module),
                inputs=list(call.inputs),
            )
        )
    return infos


def _image_shapes(tensors: tuple[Tensor, ...]) -> list[int] | list[list[int]]:
    """Shapes without the batch; a list of them only when there are several."""
    shapes = [list(tensor.shape[1:]) for tensor in tensors]
    return shapes[0] if len(shapes) == 1 else shapes


def _shapes_name(tensors: tuple[Tensor, ...]) -> str:
    return " and ".join(image_shape_name(tensor.shape[1:]) for tensor in tensors) or "nothing"
