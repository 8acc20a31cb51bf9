"""Weights of a .t7 file for a network built here: layer by layer in Torch's order, or from one vector of all."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jobs.errors import UserError
from jobs.networks.names import layer_name
from jobs.specs import EVERYWHERE, ServerPaths
from jobs.torch7.module import TorchModule
from jobs.torch7.t7 import T7Object, read_t7

LEARNT = ("weight", "bias")
MEASURED = ("running_mean", "running_var")
# Of LinearWeightNorm, whose weight is made of two, and of WeightedEuclidean.
OTHERS_LEARNT = ("v", "g", "diagCov")
NAMES_OF_MODELS = ("model", "net", "network")
DEEPEST_MODULE = 1000
# Batch normalisation's, where a file does not say it.
EPSILON = 1e-5


@dataclass(frozen=True)
class FileLayer:
    """A layer of a file that has weights. `path` is "3.2" for the second module of the third."""

    path: str
    class_name: str
    weights: dict[str, Tensor]

    def __str__(self) -> str:
        return f"{self.class_name} ({self.path})" if self.path else self.class_name


@dataclass(frozen=True)
class OwnLayer:
    """A layer of the network that has weights, by the names of their fields in Lua."""

    path: str
    module: nn.Module
    weights: dict[str, Tensor]

    def __str__(self) -> str:
        return f"{layer_name(self.module)} ({self.path})" if self.path else layer_name(self.module)


@dataclass(frozen=True)
class Copy:
    target: Tensor
    source: Tensor


def weights_of(tree: Any) -> list[FileLayer] | Tensor:
    """The layers of a module tree that have weights, in Torch's order; a vector of all weights as it is.

    Of a table that holds a model among other things, the model's. A shared module comes once.
    """
    if isinstance(tree, Tensor):
        return tree
    model = _model_in(tree)
    return list(_layers_of(model)) if model is not None else []


def _model_in(tree: Any) -> T7Object | None:
    if isinstance(tree, T7Object):
        return tree
    parts: dict[Any, Any] = {}
    if isinstance(tree, dict):
        parts = tree
    elif isinstance(tree, list):
        parts = dict(enumerate(tree, 1))
    models = {name: part for name, part in parts.items() if isinstance(part, T7Object) and any(_layers_of(part))}
    named = [models[name] for name in NAMES_OF_MODELS if name in models]
    if named:
        return named[0]
    return next(iter(models.values())) if len(models) == 1 else None


def _layers_of(model: T7Object) -> Iterator[FileLayer]:
    met = set()
    waiting = [("", model)]
    while waiting:
        path, module = waiting.pop()
        if module in met:
            continue
        met.add(module)
        if path.count(".") > DEEPEST_MODULE:
            raise UserError(f"The file has modules that lie more than {DEEPEST_MODULE:,} deep in each other.")
        weights = _weights_of(module.fields)
        if any(name in weights for name in LEARNT + MEASURED):
            yield FileLayer(path, module.class_name, weights)
        children = [(f"{path}.{number}".lstrip("."), child) for number, child in _children(module)]
        waiting.extend(reversed(children))


def _children(module: T7Object) -> list[tuple[int, T7Object]]:
    modules = module.fields.get("modules", _modules_of_nodes(module.fields.get("forwardnodes")))
    # A table with a hole is no list.
    numbered = list(enumerate(modules, 1)) if isinstance(modules, list) else _by_number(modules)
    children = [(number, child) for number, child in numbered if isinstance(child, T7Object)]
    # The other modules are copies of the first, for other GPUs.
    return children[:1] if module.class_name == "nn.DataParallelTable" else children


def _modules_of_nodes(nodes: Any) -> list[Any]:
    """Those of a gModule before it became a container; some nodes have none, which only pass on."""
    tables = (
        [node.fields.get("data") for node in nodes if isinstance(node, T7Object)] if isinstance(nodes, list) else []
    )
    return [table["module"] for table in tables if isinstance(table, dict) and "module" in table]


def _by_number(table: Any) -> list[tuple[int, Any]]:
    numbers = sorted(key for key in table if isinstance(key, int)) if isinstance(table, dict) else []
    return [(number, table[number]) for number in numbers]


def _weights_of(fields: dict[Any, Any]) -> dict[str, Tensor]:
    weights = {
        name: value
        for name in LEARNT + MEASURED + OTHERS_LEARNT
        if isinstance(value := fields.get(name), Tensor) and value.numel()
    }
    deviation = fields.get("running_std")
    if "running_var" not in weights and isinstance(deviation, Tensor) and deviation.numel():
        # Older files keep the inverse of the deviation.
        epsilon = fields.get("eps", EPSILON)
        epsilon = epsilon if isinstance(epsilon, int | float) else EPSILON
        weights["running_var"] = deviation.double().pow(-2) - epsilon
    return weights


def load_into(model: nn.Module, path: Path, paths: ServerPaths = EVERYWHERE) -> list[str]:
    """Copy the weights of a .t7 file into the network, by order and shape, and say in sentences what was taken and left.

    UserError, which names the first layer that does not fit, when nothing was copied.
    """
    found = weights_of(read_t7(path, paths))
    if isinstance(found, Tensor):
        copies, said = _from_vector(model, found, path.name)
    elif found:
        copies, said = _from_layers(list(_own_layers(model)), found, path.name)
    else:
        raise UserError(
            f"{path.name} holds no layers with weights. Save the model itself: torch.save(name, model:clearState())."
        )
    with torch.no_grad():
        for copy in copies:
            copy.target.copy_(copy.source)
    return said


def _own_layers(model: nn.Module) -> Iterator[OwnLayer]:
    for path, module in model.named_modules():
        lua_names = {own: name for name, own in module.lua_fields.items()} if isinstance(module, TorchModule) else {}
        weights: dict[str, Tensor] = {
            lua_names.get(name, name): weight for name, weight in module.named_parameters(recurse=False)
        }
        weights |= {name: tensor for name, tensor in module.named_buffers(recurse=False) if name in MEASURED}
        if weights:
            yield OwnLayer(path, module, weights)


def _from_layers(own: list[OwnLayer], found: list[FileLayer], file: str) -> tuple[list[Copy], list[str]]:
    copies = [copy for pair in zip(own, found, strict=False) for copy in _from_layer(*pair, file)]
    values = sum(copy.target.numel() for copy in copies)
    both = min(len(own), len(found))
    said = [f"{file}: the weights of {_layers(both)} were taken, {values:,} values."]
    if len(found) > both:
        said.append(f"{file}: {_names(found[both:])} had no layer left in the network.")
    if len(own) > both:
        said.append(f"{file}: it has no more layers; {_names(own[both:])} begin as they were drawn.")
    return copies, said


def _from_layer(own: OwnLayer, found: FileLayer, file: str) -> Iterator[Copy]:
    for name, target in own.weights.items():
        source = found.weights.get(name)
        if source is None and name in MEASURED:
            continue
        fitting = _fitting(source, target, found.class_name) if source is not None else None
        if fitting is None:
            has = f"of shape {_shape(source)}" if source is not None else "missing"
            raise UserError(
                f"{file} does not fit this network: {own} has the {name} of shape {_shape(target)}, "
                f"and that of {found}, in the same place of the file, is {has}. Nothing was loaded."
            )
        yield Copy(target, fitting)
    if "bias" in found.weights and "bias" not in own.weights:
        raise UserError(
            f"{file} does not fit this network: {found} has a bias of shape {_shape(found.weights['bias'])}, "
            f"and {own}, in the same place of the network, has none. Nothing was loaded."
        )


def _fitting(source: Tensor, target: Tensor, class_name: str) -> Tensor | None:
    """The values in the shape of the target, or None. Only convolutions have had their weights in several shapes."""
    if source.shape == target.shape:
        return source
    is_flat = "Convolution" in class_name and source.dim() == 2 and target.dim() > 2
    if not is_flat or source.shape[0] != target.shape[0] or source.numel() != target.numel():
        return None
    if "Temporal" in class_name:
        # Torch has the values of a frame side by side, and PyTorch those of a feature.
        outputs, features, width = target.shape
        return source.reshape(outputs, width, features).transpose(1, 2)
    return source.reshape(target.shape)


def _from_vector(model: nn.Module, vector: Tensor, file: str) -> tuple[list[Copy], list[str]]:
    """All weights one after the other, as `getParameters` gives them. A shared one is there once."""
    vector = vector.reshape(-1)
    copies = []
    used = 0
    met: set[Tensor] = set()
    for own in _own_layers(model):
        for name, target in own.weights.items():
            if name in MEASURED or target in met:
                continue
            met.add(target)
            source = vector[used : used + target.numel()]
            used += target.numel()
            if len(source) < target.numel():
                raise UserError(
                    f"{file} does not fit this network: it has {len(vector):,} values, and they end in {own}, whose {name} "
                    f"of shape {_shape(target)} takes those up to {used:,}. Nothing was loaded."
                )
            copies.append(Copy(target, source.reshape(target.shape)))
    if used < len(vector):
        raise UserError(
            f"{file} does not fit this network: it has {len(vector):,} values, and all layers together take {used:,}. "
            "Nothing was loaded."
        )
    said = [f"{file}: {used:,} values were taken, one after the other, for {len(copies)} weights and biases."]
    if any(True for own in _own_layers(model) for name in own.weights if name in MEASURED):
        said.append(f"{file}: a vector of weights has no running means and variances; these begin anew.")
    return copies, said


def _layers(number: int) -> str:
    return "1 layer" if number == 1 else f"{number} layers"


def _names(layers: list[FileLayer] | list[OwnLayer]) -> str:
    names = [str(layer) for layer in layers[:3]]
    more = [f"{len(layers) - 3} more"] if len(layers) > 3 else []
    return ", ".join(names + more)


def _shape(tensor: Tensor) -> str:
    return " × ".join(map(str, tensor.shape)) or "one number"
