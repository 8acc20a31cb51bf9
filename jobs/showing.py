"""What a network makes of one image, as pages show it: Test One's answer, and each frame of a training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.layers import LayerRow, array_of
from jobs.networks.contract import Network, blame_text
from jobs.networks.names import layer_name
from jobs.networks.tracing import LayerCall, find_code, tensors_in, traced
from jobs.pictures import Bytes, Colormap, Floats, Picture, draw, draw_image, finite_limits
from jobs.storage.images import load_image, resize_image
from jobs.torch7.module import TorchModule


@dataclass(frozen=True)
class Pass:
    """What one image left on its way through a network. All of it is copies: no later step changes them."""

    target: Tensor
    outputs: tuple[Tensor, ...]
    calls: Sequence[LayerCall]
    code: LayerCall | None


def read_image(source: Path, dataset: dict[str, Any]) -> Bytes:
    """A picture file as an image of this dataset, of its channels and size; BadImage says why that cannot be."""
    channels, height, width = dataset["image_shape"]
    image: Bytes = resize_image(load_image(source, channels), height, width, dataset.get("resize_mode", "squash"))
    return image


def pass_through(network: Network, prepared: Tensor) -> Pass:
    """One prepared image, a batch of its own, through the network in the mode in which it is; BadNetwork when it fails."""
    # Layers of Torch may drop the batch where it is one image: that goes through twice, and is looked at once.
    is_of_torch = any(isinstance(module, TorchModule) for module in network.model.modules())
    batch = prepared.repeat(2, *[1] * (prepared.dim() - 1)) if is_of_torch else prepared.clone()
    with blame_text(network.filename), torch.no_grad(), traced(network.model) as trace:
        # The pictures show what went in, even if the first layer works in place.
        output = network.model(batch)
    outputs = tuple(tensor[:1].detach().clone() for tensor in tensors_in(output))
    calls = [replace(call, outputs=tuple(tensor[:1] for tensor in call.outputs)) for call in trace.calls]
    target = _target(network, prepared, outputs[0])
    return Pass(target, outputs, calls, find_code(calls, prepared[0].numel()))


def _target(network: Network, prepared: Tensor, output: Tensor) -> Tensor:
    """What the network tries to give: what its label hook makes of the image, when that has the output's shape."""
    try:
        with torch.no_grad():
            # There is no label here; a hook that needs one has no target to show.
            target = network.label_hook(prepared.clone(), cast(Tensor, None))
    except Exception:  # noqa: BLE001  the user's code may raise anything, and the image itself is a fair answer
        return prepared
    return target if isinstance(target, Tensor) and target.shape[1:] == output.shape[1:] else prepared


def show(
    image: NDArray[Any], passed: Pass, rows: Sequence[LayerRow], total_parameters: int, colormap: Colormap
) -> dict[str, Any]:
    """The pictures, scores and table of layers as strict JSON. `image` is the one of the dataset, before its preparation."""
    target, output = first_of(passed.target), first_of(passed.outputs[0])
    compared = compare(target, output)
    return {
        "pictures": main_pictures(image, target, passed.code, output, compared, colormap),
        "error": compared and {"mse": compared["mse"], "correlation": compared["correlation"]},
        "layers": [
            {**vars(row), "path": passed.calls[row.index].path, "picture": row.picture and vars(row.picture)}
            for row in rows
        ],
        "total_parameters": total_parameters,
        "code_layer": passed.code and passed.code.index,
    }


def compare(target: Floats, output: Floats) -> dict[str, Any] | None:
    """How far the output is from its target, in all and at each value; None when their shapes differ."""
    if target.shape != output.shape:
        return None
    target, output = target.astype(np.float64), output.astype(np.float64)
    difference = output - target
    mse = float(np.mean(difference**2))
    correlation = None
    if min(target.std(), output.std()) > 0 and math.isfinite(mse):
        correlation = float(np.corrcoef(target.reshape(-1), output.reshape(-1))[0, 1])
    return {"mse": mse if math.isfinite(mse) else None, "correlation": correlation, "map": np.abs(difference)}


def main_pictures(
    image: NDArray[Any],
    target: Floats,
    code: LayerCall | None,
    output: Floats,
    compared: dict[str, Any] | None,
    colormap: Colormap,
) -> list[dict[str, Any]]:
    """The pictures at the top of the page. Normalized and reconstruction share their colours: same colour, same value.

    Behind a caption with a range the page says what that is, with numbers as it writes all others.
    """
    limits = _common_limits(target, output) if compared else None
    # A dataset of floats has a range of its own.
    original = draw_image(image) if image.dtype == np.uint8 else draw(image, colormap)
    shown = [
        _shown("original", "Original", "The image as the dataset holds it.", original),
        _shown(
            "normalized",
            "Normalized",
            "What the network is to reconstruct" if compared else "What the network gets",
            draw(target, colormap, limits),
        )
        | {"range": _range(target)},
    ]
    if code is not None:
        values = first_of(code.outputs[0])
        caption = f"The {values.size} values of {layer_name(code.module)}"
        title = "Compressed representation" if compared else "Smallest layer"
        shown.append(_shown("code", title, caption, draw(values, colormap)) | {"range": _range(values)})
    title = "Reconstruction" if compared else "Output"
    drawn = draw(output, colormap, limits)
    shown.append(_shown("output", title, "What the network gives", drawn) | {"range": _range(output)})
    if compared:
        caption = "Distance of each value of the reconstruction from the normalized image."
        shown.append(_shown("error", "Error", caption, draw(_one_plane(compared["map"]), colormap)))
    return shown


def _shown(key: str, title: str, caption: str, picture: Picture) -> dict[str, Any]:
    return {"key": key, "title": title, "caption": caption, "picture": vars(picture)}


def _common_limits(target: Floats, output: Floats) -> tuple[float, float]:
    """From the lowest to the highest value of both; of the one that has finite values, if only one has."""
    both = [finite_limits(target), finite_limits(output)]
    return float(np.fmin.reduce([low for low, _ in both])), float(np.fmax.reduce([high for _, high in both]))


def _range(values: Floats) -> list[float] | None:
    """From the lowest to the highest finite value, if there is one."""
    low, high = finite_limits(values)
    return None if math.isnan(low) else [float(low), float(high)]


def _one_plane(errors: Floats) -> Floats:
    """Errors of a colour image as one plane: colours of errors would say nothing."""
    return errors.mean(0, keepdims=True) if errors.ndim == 3 and len(errors) == 3 else errors


def first_of(batch: Tensor) -> Floats:
    """What the batch holds for its one image."""
    return array_of(batch[0])
