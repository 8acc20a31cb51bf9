"""The warm process behind Test One: `python -P -m jobs.predictor MODEL_FOLDER DATASET_FOLDER`.

It builds the model's network once and then answers requests, a line of JSON each:
{"id", "epoch", "image": path, "name", "show_visualizations", "colormap"} → {"id", "prediction"} or {"id", "error"}.
It ends when its stdin closes.
"""

import math
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from jobs.building import cropped_shape
from jobs.errors import BadNetwork, LayerscopeError, UserError
from jobs.events import in_words
from jobs.folder import JobFolder
from jobs.layers import LayerRow, activation_rows, array_of, weight_rows
from jobs.models.generic_image import GenericImageModelSpec
from jobs.networks.contract import Network, NetworkParams, blame_text, build_network
from jobs.networks.names import layer_name
from jobs.networks.pipes import PrivatePipes
from jobs.networks.tracing import LayerCall, find_code, tensors_in, traced
from jobs.pictures import Bytes, Colormap, Floats, Picture, draw, draw_image, finite_limits
from jobs.registry import parse_spec
from jobs.storage.images import load_image, resize_image
from jobs.training.checkpoints import load_snapshot
from jobs.training.data import Preparation
from jobs.training.job import choose_device, preparation, read_dataset, use_processors


@dataclass(frozen=True)
class PredictionRequest:
    """What Test One asks for. No epoch: the newest snapshot."""

    image: Path
    name: str
    epoch: int | None = None
    show_visualizations: bool = False
    colormap: Colormap = "jet"


class Predictor:
    """A model's network with the weights of the snapshot that was asked for last."""

    def __init__(self, model_folder: JobFolder, dataset_folder: JobFolder) -> None:
        self._folder = model_folder
        spec = cast(GenericImageModelSpec, parse_spec(model_folder.read_spec()))
        self._device = choose_device("cpu")
        use_processors(self._device)
        self._dataset = read_dataset(dataset_folder)
        # Weights come from snapshots; the seed only makes what a text does by chance the same each time.
        torch.manual_seed(spec.random_seed or 0)
        shape = cropped_shape(self._dataset["image_shape"], spec.crop_size)
        self._network: Network = build_network(spec.custom_network, NetworkParams(shape))
        self._network.model.to(self._device).eval()
        self._prepare: Preparation = preparation(spec, self._network, dataset_folder, self._dataset, self._device)
        self._loaded: tuple[int, int] | None = None
        self._weight_rows: dict[tuple[Any, ...], list[LayerRow]] = {}

    def predict(self, request: PredictionRequest) -> dict[str, Any]:
        """The `prediction` of an answer, as JSON."""
        start = time.perf_counter()
        epoch = self._load_weights(request.epoch)
        image = self._read_image(request.image)
        prepared = self._prepare(torch.from_numpy(image)[None].to(self._device))
        model = self._network.model
        with blame_text(self._network.filename), torch.inference_mode(), traced(model) as trace:
            # The pictures show what went in, even if the first layer works in place.
            output = model(prepared.clone())
        outputs = [array_of(tensor) for tensor in tensors_in(output)]
        target = self._target(prepared, outputs[0])
        code = find_code(trace.calls, prepared[0].numel())
        compared = compare(target, outputs[0][0])
        return {
            "epoch": epoch,
            "image": request.name,
            "outputs": {name: strict(array.tolist()) for name, array in _named(outputs).items()},
            "pictures": main_pictures(image, target, code, outputs[0][0], compared, request.colormap),
            "error": compared and {"mse": compared["mse"], "correlation": compared["correlation"]},
            "layers": [
                {**vars(row), "picture": row.picture and vars(row.picture)}
                for row in (self._layer_rows(trace.calls, request.colormap) if request.show_visualizations else [])
            ],
            "total_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "code_layer": code and code.index,
            "seconds": round(time.perf_counter() - start, 4),
        }

    def _load_weights(self, epoch: int | None) -> int:
        epochs = self._folder.snapshot_epochs()
        if epoch is None:
            if not epochs:
                raise UserError("The model has no snapshot yet. Wait for the end of its first epoch.")
            epoch = epochs[-1]
        path = self._folder.snapshot(epoch)
        # A snapshot of this epoch may be written anew, when a training that was stopped in it goes on.
        version = (epoch, path.stat().st_mtime_ns if path.exists() else 0)
        if version != self._loaded:
            content = load_snapshot(self._folder, epoch, self._device)
            self._loaded = None
            self._weight_rows = {}
            try:
                self._network.model.load_state_dict(content["model"])
            except RuntimeError as error:
                raise UserError(f"The snapshot of epoch {epoch} is not of this network: {error}") from error
            self._loaded = version
        return epoch

    def _read_image(self, path: Path) -> Bytes:
        channels, height, width = self._dataset["image_shape"]
        image = load_image(path, channels)
        resized: Bytes = resize_image(image, height, width, self._dataset.get("resize_mode", "squash"))
        return resized

    def _target(self, prepared: Tensor, output: Floats) -> Floats:
        """What the network tries to give: what its label hook makes of the image, when that has the output's shape."""
        try:
            with torch.inference_mode():
                # There is no label here; a hook that needs one has no target to show.
                target = self._network.label_hook(prepared.clone(), cast(Tensor, None))
        except Exception:  # noqa: BLE001  the user's code may raise anything, and the image itself is a fair answer
            return first_of(prepared)
        is_like_output = isinstance(target, Tensor) and target.shape[1:] == output.shape
        return first_of(target if is_like_output else prepared)

    def _layer_rows(self, calls: Sequence[LayerCall], colormap: Colormap) -> list[LayerRow]:
        rows: list[LayerRow] = []
        shown = set()
        for call in calls:
            rows += activation_rows(call, colormap)
            if call.module in shown:
                continue
            shown.add(call.module)
            # They are the same for every image.
            key = (call.index, colormap)
            if key not in self._weight_rows:
                self._weight_rows[key] = weight_rows(call.index, call.module, colormap)
            rows += self._weight_rows[key]
        return rows


def compare(target: Floats, output: Floats) -> dict[str, Any] | None:
    """How far the output is from its target, in all and at each value; None when their shapes differ."""
    if target.shape != output.shape:
        return None
    difference = output.astype(np.float64) - target
    mse = float(np.mean(difference**2))
    correlation = None
    if min(target.std(), output.std()) > 0 and math.isfinite(mse):
        correlation = float(np.corrcoef(target.reshape(-1), output.reshape(-1))[0, 1])
    return {"mse": mse if math.isfinite(mse) else None, "correlation": correlation, "map": np.abs(difference)}


def main_pictures(
    image: Bytes,
    target: Floats,
    code: LayerCall | None,
    output: Floats,
    compared: dict[str, Any] | None,
    colormap: Colormap,
) -> list[dict[str, Any]]:
    """The pictures at the top of the page. Normalized and reconstruction share their colours: same colour, same value."""
    limits = None
    if compared:
        both = [finite_limits(target), finite_limits(output)]
        limits = (min(low for low, _ in both), max(high for _, high in both))
    shown = [
        _shown("original", "Original", "The image as the dataset holds it.", draw_image(image)),
        _shown(
            "normalized",
            "Normalized",
            f"{'What the network is to reconstruct' if compared else 'What the network gets'}: {_range(target)}.",
            draw(target, colormap, limits),
        ),
    ]
    if code is not None:
        values = first_of(code.outputs[0])
        caption = f"{layer_name(code.module)}: {values.size} values, {_range(values)}."
        title = "Compressed representation" if compared else "Smallest layer"
        shown.append(_shown("code", title, caption, draw(values, colormap)))
    title = "Reconstruction" if compared else "Output"
    shown.append(_shown("output", title, f"What the network gives: {_range(output)}.", draw(output, colormap, limits)))
    if compared:
        caption = "Distance of each value of the reconstruction from the normalized image."
        shown.append(_shown("error", "Error", caption, draw(_one_plane(compared["map"]), colormap)))
    return shown


def _shown(key: str, title: str, caption: str, picture: Picture) -> dict[str, Any]:
    return {"key": key, "title": title, "caption": caption, "picture": vars(picture)}


def _range(values: Floats) -> str:
    low, high = finite_limits(values)
    return f"{low:.4g} to {high:.4g}"


def _one_plane(errors: Floats) -> Floats:
    """Errors of a colour image as one plane: colours of errors would say nothing."""
    return errors.mean(0, keepdims=True) if errors.ndim == 3 and len(errors) == 3 else errors


def first_of(batch: Tensor) -> Floats:
    """What the batch holds for its one image."""
    return array_of(batch[0])


def _named(outputs: list[Floats]) -> dict[str, Floats]:
    """DIGITS's name for the output, `output`; further ones are counted."""
    return {"output" if number == 1 else f"output.{number}": array for number, array in enumerate(outputs, 1)}


def strict(value: Any) -> Any:
    """Nested lists of numbers as strict JSON can hold them."""
    return [strict(part) for part in value] if isinstance(value, list) else in_words(value)


def read_request(request: dict[str, Any]) -> PredictionRequest:
    image = Path(request["image"])
    return PredictionRequest(
        image=image,
        name=request.get("name") or image.name,
        epoch=request.get("epoch"),
        show_visualizations=bool(request.get("show_visualizations")),
        colormap=request.get("colormap") or "jet",
    )


def serve(pipes: PrivatePipes, model_folder: JobFolder, dataset_folder: JobFolder) -> None:
    """Answer requests until there are no more."""
    predictor: Predictor | None = None
    for request in pipes.requests():
        answer: dict[str, Any] = {"id": request.get("id")}
        try:
            # Not before the first request, so that a network that cannot be built is an answer, too.
            predictor = predictor or Predictor(model_folder, dataset_folder)
            answer["prediction"] = predictor.predict(read_request(request))
        except LayerscopeError as error:
            print(traceback.format_exc(), file=sys.stderr)
            place = {"line": error.line, "layer": error.layer} if isinstance(error, BadNetwork) else {}
            answer["error"] = {"message": str(error), "type": type(error).__name__, **place}
        except Exception as error:  # noqa: BLE001  the rim of the loop: the next image may be better
            print(traceback.format_exc(), file=sys.stderr)
            message = f"This is a fault of Layerscope: {type(error).__name__}: {error}. The log has the details."
            answer["error"] = {"message": message, "type": type(error).__name__}
        pipes.answer(answer)


def main(arguments: Sequence[str]) -> int:
    model_folder, dataset_folder = (JobFolder(Path(argument)) for argument in arguments)
    serve(PrivatePipes(), model_folder, dataset_folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
