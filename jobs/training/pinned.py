"""The pinned image of a training, loaded as the network gets it, and loaded anew when a person picks another."""

from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.errors import LayerscopeError, UserError
from jobs.folder import JobFolder
from jobs.pins import Pin, pinned_file, read_pin
from jobs.showing import read_image
from jobs.storage.arrays import open_split

SECONDS_BETWEEN_LOOKS_AT_PIN = 0.75

Version = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PinnedImage:
    """An image C×H×W and what a person calls it, as the `image` of a frame."""

    name: dict[str, Any]
    pixels: NDArray[Any]

    def as_batch(self) -> Tensor:
        return torch.from_numpy(self.pixels)[None]


class PinnedImages:
    """Gives the image that is pinned. Where nobody has pinned one it is the first one of validation, else of training."""

    def __init__(self, folder: JobFolder, dataset_folder: JobFolder, dataset: dict[str, Any]) -> None:
        self._folder = folder
        self._dataset_folder = dataset_folder
        self._dataset = dataset

    def default(self) -> PinnedImage:
        split = "val" if self._dataset["splits"].get("val") else "train"
        return self._load(Pin.model_validate({"split": split, "index": 0}))

    def read(self) -> PinnedImage | None:
        """The image that was picked last, None while nobody has; UserError with a sentence when it cannot be had."""
        try:
            pin = read_pin(self._folder)
        except OSError as error:
            raise UserError(f"Which image is pinned cannot be read: {error}") from error
        if pin is None:
            return None
        try:
            return self._load(pin)
        except LayerscopeError as error:
            what = f'"{pin.name}"' if pin.file is not None else f"image {pin.index} of {pin.split}"
            raise UserError(f"The pinned {what} cannot be shown. {error}") from error

    def _load(self, pin: Pin) -> PinnedImage:
        if pin.file is not None:
            return PinnedImage(pin.image, read_image(pinned_file(self._folder, pin), self._dataset))
        assert pin.split is not None
        assert pin.index is not None
        images = open_split(self._dataset_folder, pin.split).images
        if not 0 <= pin.index < len(images):
            raise UserError(f"The dataset has images 0 to {len(images) - 1} there.")
        return PinnedImage(pin.image, images[pin.index].copy())

    def version(self) -> Version | None:
        """Another one whenever a person has pinned an image."""
        try:
            found = self._folder.pin.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino


class PinWatch:
    """Has the pinned image loaded by another thread when it is not the one that was seen last."""

    def __init__(self, images: PinnedImages, executor: Executor, seen: Version | None) -> None:
        self._images = images
        self._executor = executor
        self._seen = seen
        self._next_look = 0.0
        self._loading: Future[PinnedImage | None] | None = None

    def newly_pinned(self, now: float) -> PinnedImage | None:
        """The new image, once, when it is loaded; UserError, once, when it cannot be."""
        if now >= self._next_look:
            self._next_look = now + SECONDS_BETWEEN_LOOKS_AT_PIN
            version = self._images.version()
            if version != self._seen and self._loading is None:
                self._seen = version
                self._loading = self._executor.submit(self._images.read)
        if self._loading is None or not self._loading.done():
            return None
        loaded, self._loading = self._loading, None
        try:
            return loaded.result()
        except UserError:
            if self._images.version() != self._seen:
                # The person has pinned another one meanwhile, and the file of this one is gone.
                return None
            raise
