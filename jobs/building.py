"""A network built and tried on two images: its layers, or the sentence that says which of them does not fit."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from jobs.errors import BadNetwork, UserError
from jobs.models.generic_image import Framework
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
from jobs.networks.names import image_shape_name, layer_name
from jobs.networks.tracing import LayerCall, RunningModule, Trace, find_code, tensors_in, traced
from jobs.torch7.lookup import TakesIndices
from jobs.torch7.module import Criterion
from jobs.torch7.shapes import View

ImageShape = tuple[int, int, int]
LoadWeights = Callable[[nn.Module], None]
IMAGES_TRIED = 2
HOOK_ADVICE: dict[Framework, str] = {
    "pytorch": "`label_hook` gives the target: to learn the images themselves, return "
    "label_hook=lambda input, label: input.",
    "torch": "`labelHook` gives the target: to learn the images themselves, return "
    "labelHook = function(input, label) return input end.",
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
) -> tuple[Network, NetworkReport]:
    """The network of a pasted text on its device, tried on images and labels of these shapes. The form's crop comes first."""
    device = torch.device(device)
    params = NetworkParams(cropped_shape(image_shape, crop_size), n_classes, n_gpus=int(device.type == "cuda"))
    network = build(framework, text, params, load_weights)
    network.model.to(device)
    if isinstance(network.loss, nn.Module):
        # It may have weights for the classes.
        network.loss.to(device)
    seen_shape = cropped_shape(image_shape, crop_size or network.crop_size)
    return network, check_network(network, seen_shape, label_shape, device)


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
    network: Network, image_shape: Sequence[int], label_shape: Sequence[int], device: torch.device | str = "cpu"
) -> NetworkReport:
    """Run two random images forward and backward; BadNetwork says which layer does not fit, or why nothing can be learnt.

    Weights, buffers and random numbers are left as they were.
    """
    device = torch.device(device)
    images, labels = made_up_batch(network, image_shape, label_shape, device)
    gpus = [device] if device.type == "cuda" else []
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.model.buffers() if not _is_lazy(buffer)]
    with torch.random.fork_rng(gpus), traced(network.model) as trace, torch.enable_grad():
        network.model.train()
        output = _try_forward(network, images, trace)
        _refuse_non_finite_layers(network, trace.calls)
        loss = _try_loss(network, images, labels, output)
        _try_backward(network, loss)
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
    )


def made_up_batch(
    network: Network,
    image_shape: Sequence[int],
    label_shape: Sequence[int],
    device: torch.device | str = "cpu",
    count: int = IMAGES_TRIED,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Noise of the range that mean-subtracted images have, and labels of the first class, which every number of them has.

    A network that looks its pixels up, as of characters, gets places that are in its table.
    """
    noise = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *image_shape, generator=noise)
    counts = [module.index_count for module in network.model.modules() if isinstance(module, TakesIndices)]
    images = (images * min(counts)).floor() + 1 if counts else images * 255 - 128
    # Torch's criteria count from 1.
    first_class = int(isinstance(network.loss, Criterion))
    labels = torch.full((count, *label_shape), first_class, dtype=label_type(label_shape))
    return images.to(device), labels.to(device)


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
    if not any(True for _ in tensors_in(output)):
        raise BadNetwork(f"The model returns {type(output).__name__}; it must return a tensor.")
    if not any(parameter.requires_grad for parameter in network.model.parameters()):
        if any(True for _ in network.model.parameters()):
            raise BadNetwork("The network has no parameters to learn: the text freezes all of its weights.")
        raise BadNetwork("The network has no parameters to learn: no layer of it, such as nn.Linear, has weights.")
    return output


def _layer_fault(network: Network, running: list[RunningModule], error: BaseException) -> BadNetwork:
    """The sentence for a forward pass that broke off, naming the layer in which it did."""
    line_of_code = line_in_text(error, network.filename)
    if not running:
        return network_fault(error, network.filename)
    run = running[-1]
    name = layer_name(run.module)
    if run.called_others or type(run.module).__module__ == MODULE_NAME:
        fault = network_fault(error, network.filename)
        return BadNetwork(f"{fault} (in {name})", line_of_code, name)
    line = network.line_of(run.module) or line_of_code
    where = _at_line(network, name, line)
    reason = _misfit(run) or f"cannot take its input of shape {_shapes_name(run.inputs)}: {first_line(error)}"
    return BadNetwork(f"{where} {reason}", line, name)


def _at_line(network: Network, name: str, line: int | None) -> str:
    if line is None:
        return name
    return f"line {line}: {name}" if network.framework == "torch" else f"{name} on line {line}"


def _misfit(run: RunningModule) -> str | None:
    """What a layer got and what it takes, for the layers that people join most."""
    if not run.inputs or run.inputs[0].dim() < 1:
        return None
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
    hint = " Is nn.Flatten() missing before it?" if prod(shape) == module.in_features else ""
    return (
        f"got images of shape {image_shape_name(shape)} and looks at their last side only, {shape[-1]}; "
        f"it takes {module.in_features}.{hint}"
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
    sides = image_shape_name(side for side in module.sizes if side != -1)
    if -1 in module.sizes:
        return f"got {values} values an image, which is no multiple of {wanted}."
    return f"got {values} values an image; {sides} are {wanted}."


MISFITS: dict[type[Any], Callable[[Any, tuple[int, ...]], str | None]] = {
    nn.Linear: _linear_misfit,
    _ConvNd: _convolution_misfit,
    _NormBase: _norm_misfit,
    nn.Unflatten: _unflatten_misfit,
    View: _view_misfit,
}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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


def _try_loss(network: Network, images: Tensor, labels: Tensor, output: Any) -> Tensor:
    # In-place layers worked on a copy: this is the input as it was given.
    with blame_text(network.filename):
        target = network.label_hook(images, labels)
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
            raise BadNetwork(_misfit_of_target(network, output, target, first_line(error))) from error
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
    return loss


def _misfit_of_target(network: Network, output: Any, target: Any, reason: str) -> str:
    outputs = _shapes_name(tuple(tensors_in(output)))
    targets = _shapes_name(tuple(tensors_in(target)))
    default = "" if not isinstance(network.loss, nn.NLLLoss) else " (the default where a network names no loss)"
    return (
        f"The output has shape {outputs} for one image and the target {targets}; {_loss_name(network)}{default} "
        f"cannot compare them: {reason.rstrip('.')}. {HOOK_ADVICE[network.framework]}"
    )


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
