"""The warm process behind Test One: `python -P -m jobs.predictor MODEL_FOLDER DATASET_FOLDER`.

It builds the model's network once and then answers requests, a line of JSON each:
{"id", "epoch", "image": path, "name", "show_visualizations", "colormap"} → {"id", "prediction"} or {"id", "error"}.
It ends when its stdin closes.
"""

import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from jobs.building import build, cropped_shape
from jobs.errors import BadNetwork, LayerscopeError, UserError, name_for_server
from jobs.events import in_words
from jobs.folder import JobFolder
from jobs.layers import LayerRow, array_of, layer_rows, weight_rows, weights_of
from jobs.models.generic_image import GenericImageModelSpec
from jobs.networks.contract import Network, NetworkParams
from jobs.networks.pipes import PrivatePipes
from jobs.networks.tracing import LayerCall
from jobs.pictures import Colormap, Floats, Pen
from jobs.registry import parse_spec
from jobs.showing import pass_through, read_image, show
from jobs.training.checkpoints import load_snapshot
from jobs.training.data import Preparation
from jobs.training.job import choose_device, preparation, read_dataset, use_processors
from jobs.training.outside import set_attributes
from jobs.training.snapshot_files import name_of_snapshot


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
        self._network: Network = build(spec.framework, spec.custom_network, NetworkParams(shape))
        self._network.model.to(self._device).eval()
        self._prepare: Preparation = preparation(spec, self._network, dataset_folder, self._dataset, self._device)
        self._loaded: tuple[int, int] | None = None
        self._name = ""
        self._weight_rows: dict[tuple[Any, ...], list[LayerRow]] = {}

    def predict(self, request: PredictionRequest) -> dict[str, Any]:
        """The `prediction` of an answer, as JSON."""
        start = time.perf_counter()
        snapshot = self._load_weights(request.epoch)
        image = read_image(request.image, self._dataset)
        prepared = self._prepare(torch.from_numpy(image)[None].to(self._device))
        passed = pass_through(self._network, prepared)
        outputs = [array_of(tensor) for tensor in passed.outputs]
        rows = self._layer_rows(passed.calls, request.colormap) if request.show_visualizations else []
        parameters = sum(parameter.numel() for parameter in self._network.model.parameters())
        return {
            "snapshot": snapshot,
            "image": request.name,
            "outputs": {name: strict(array.tolist()) for name, array in _named(outputs).items()},
            **show(image, passed, rows, parameters, request.colormap),
            "seconds": round(time.perf_counter() - start, 4),
        }

    def _load_weights(self, epoch: int | None) -> str:
        """What a person calls the snapshot that they are of."""
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
                # Older snapshots hold none.
                set_attributes(self._network, content.get("attributes", {}))
            except RuntimeError as error:
                raise UserError(f"The snapshot of epoch {epoch} is not of this network: {error}") from error
            self._loaded = version
            self._name = name_of_snapshot(content["position"]["epochs_done"])
        return self._name

    def _layer_rows(self, calls: Sequence[LayerCall], colormap: Colormap) -> list[LayerRow]:
        pen = Pen(colormap)

        def rows_of(call: LayerCall, units: int | None) -> list[LayerRow]:
            # They are the same for every image.
            key = (call.index, colormap)
            if key not in self._weight_rows:
                self._weight_rows[key] = weight_rows(call, weights_of(call.module), pen, units)
            return self._weight_rows[key]

        return layer_rows(calls, pen, rows_of, dead={})


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
        answer: dict[str, Any] = {}
        try:
            # Not before the first request, so that a network that cannot be built is an answer, too.
            predictor = predictor or Predictor(model_folder, dataset_folder)
            answer["prediction"] = predictor.predict(read_request(request))
        except LayerscopeError as error:
            print(traceback.format_exc(), file=sys.stderr)
            place = {"line": error.line, "layer": error.layer} if isinstance(error, BadNetwork) else {}
            answer["error"] = {"message": str(error), "type": name_for_server(error), **place}
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
