"""The warm process behind explore pages: reads a dataset's databases, and looks whether a picture can be read.

It answers requests, a line of JSON each: {"wish": "records", "database", "start", "count", "label"} → {"records"};
{"wish": "picture", "database", "index"} → {"content", "mimetype"}; {"wish": "check", "picture": path} → {}; or {"error"}.
It ends when its stdin closes.
"""

import base64
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import LayerscopeError, name_for_server
from jobs.networks.pipes import PrivatePipes
from jobs.storage.database import Record, open_database
from jobs.storage.datum import image_of
from jobs.storage.images import as_image, decode, encode

# What browsers show as it is stored.
BROWSER_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    if request["wish"] == "check":
        decode(Path(request["picture"]))
        return {}
    with open_database(Path(request["database"])) as opened:
        if request["wish"] == "records":
            found = opened.records(request["start"], request["count"], request["label"])
            return {"records": [{"index": record.index, "key": record.key, "label": record.label} for record in found]}
        try:
            content, mimetype = as_file(opened.record(request["index"]))
        except IndexError:
            return {"content": None}
        return {"content": base64.b64encode(content).decode(), "mimetype": mimetype}


def as_file(record: Record) -> tuple[bytes, str]:
    """A record's picture as it is stored if a browser can show that, else as a PNG; and its media type."""
    datum = record.datum
    for signature, mimetype in BROWSER_TYPES.items():
        if datum.encoded and datum.data.startswith(signature):
            return datum.data, mimetype
    return encode(as_image(_as_bytes(image_of(datum))), "png"), "image/png"


def _as_bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Something to look at: floats spread over the grey levels, and of an unusual number of channels the first."""
    pixels = pixels if len(pixels) in (1, 3) else pixels[:1]
    if pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    return ((pixels - low) * (255 / (high - low or 1))).astype(np.uint8)


def main(arguments: Sequence[str] = ()) -> int:
    pipes = PrivatePipes()
    for request in pipes.requests():
        try:
            answer = answer_to(request)
        except LayerscopeError as error:
            answer = {"error": {"message": str(error), "type": name_for_server(error)}}
        except Exception as error:  # noqa: BLE001  the rim of the loop: the next record may be better
            traceback.print_exc()
            message = f"This is a fault of Layerscope: {type(error).__name__}: {error}. The log has the details."
            answer = {"error": {"message": message, "type": type(error).__name__}}
        pipes.answer(answer)
    return 0
