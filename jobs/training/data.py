"""Images and labels of a dataset as batches on the device: gathered, mean-subtracted and cropped as whole tensors."""

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

Batch = tuple[Tensor, Tensor]

# What of the memory that is free now the images may take; the network and its gradients need the rest.
SHARE_OF_MEMORY = 0.5
BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Preparation:
    """What happens to a batch of raw images before the network sees it: floats of 0…255, less the mean, cropped."""

    mean: Tensor | None = None
    crop_size: int | None = None

    def __call__(self, images: Tensor, random: torch.Generator | None = None) -> Tensor:
        """The prepared batch. With `random` the crop lies anywhere, for each image on its own; without, in the centre."""
        # A byte less a float is a float, in one pass over the batch.
        prepared = images.float() if self.mean is None else torch.sub(images, self.mean)
        if self.crop_size is None or prepared.shape[-2:] == (self.crop_size, self.crop_size):
            return prepared
        if random is None:
            return _centre_crop(prepared, self.crop_size)
        return _random_crop(prepared, self.crop_size, random)


def _centre_crop(images: Tensor, size: int) -> Tensor:
    top, left = ((side - size) // 2 for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size].contiguous()


def _random_crop(images: Tensor, size: int, random: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    device = images.device
    tops = torch.randint(height - size + 1, (count,), generator=random, device=device)
    lefts = torch.randint(width - size + 1, (count,), generator=random, device=device)
    # A view with every possible window, from which one an image is gathered.
    windows = images.unfold(2, size, 1).unfold(3, size, 1)
    return windows[torch.arange(count, device=device), :, tops, lefts]


def random_of_epoch(seed: int, epoch: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on the seed and the epoch only, so that a training can be taken up at any epoch."""
    (mixed,) = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed >> np.uint64(1)))


def order_of_epoch(count: int, seed: int, epoch: int, shuffle: bool) -> Tensor:
    """The order in which an epoch sees its images, each of them once."""
    return torch.randperm(count, generator=random_of_epoch(seed, epoch)) if shuffle else torch.arange(count)


def split(order: Tensor, batch_size: int) -> Sequence[Tensor]:
    """Of no images there are no batches; torch has one, without images."""
    return torch.split(order, batch_size) if len(order) else ()


@dataclass(frozen=True)
class ResidentImages:
    """All images and labels on the device: a batch is one gather there."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        """Raw images and labels in `order`; the last batch is smaller when the count asks for it."""
        for indices in split(order.to(self.images.device, non_blocking=True), batch_size):
            yield self.images.index_select(0, indices), self.labels.index_select(0, indices)


@dataclass(frozen=True)
class StreamedImages:
    """Images that do not fit: a thread gathers the next batches from the array on disk while this one is learnt."""

    images: Tensor
    labels: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        with ThreadPoolExecutor(1, "prefetch") as prefetch:
            ahead: deque[Future[Batch]] = deque()
            for indices in split(order, batch_size):
                ahead.append(prefetch.submit(self._gather, indices))
                if len(ahead) > BATCHES_AHEAD:
                    yield self._on_device(ahead.popleft().result())
            while ahead:
                yield self._on_device(ahead.popleft().result())

    def _gather(self, indices: Tensor) -> Batch:
        images, labels = self.images.index_select(0, indices), self.labels.index_select(0, indices)
        if self.device.type == "cuda":
            # From pinned memory the copy to the GPU runs beside the computing.
            return images.pin_memory(), labels.pin_memory()
        return images, labels

    def _on_device(self, batch: Batch) -> Batch:
        images, labels = batch
        return images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


ImageData = ResidentImages | StreamedImages


def put_on_device(
    images: NDArray[np.uint8] | NDArray[np.float32],
    labels: NDArray[np.int64] | NDArray[np.float32],
    device: torch.device,
    budget: int | None = None,
) -> ImageData:
    """The arrays as batches can be drawn from them: on the device when they fit in `budget` bytes, else streamed.

    Without a budget it is a share of the memory that is free on the device now.
    """
    allowed = free_memory(device) * SHARE_OF_MEMORY if budget is None else budget
    label_tensor = torch.from_numpy(np.array(labels))
    if not (label_tensor.dim() == 1 and label_tensor.dtype == torch.int64):
        label_tensor = label_tensor.float()
    mapped = _as_tensor(images)
    if images.nbytes + labels.nbytes <= allowed:
        # On the CPU `to` alone would leave the images in their file.
        resident = mapped.clone() if device.type == "cpu" else mapped.to(device)
        return ResidentImages(resident, label_tensor.to(device))
    return StreamedImages(mapped, label_tensor, device)


def _as_tensor(images: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
    with warnings.catch_warnings():
        # The array is mapped read-only and nobody writes to the tensor, which is what torch warns of.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(images))


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device, within the limit of the container if there is one."""
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return int(free)
    available = int(psutil.virtual_memory().available)
    limit = _container_limit(Path("/sys/fs/cgroup"))
    return available if limit is None else min(available, limit)


def _container_limit(cgroup: Path) -> int | None:
    """What a container may still take, by cgroup v2. Cached files do not count: the kernel gives them up."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        taken = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())["anon"]
    except (OSError, KeyError):
        return None
    return None if limit == "max" else max(0, int(limit) - int(taken))


def mean_to_subtract(mean: NDArray[np.float32], use_mean: str, device: torch.device | str = "cpu") -> Tensor | None:
    """The dataset's mean image as `use_mean` asks for it: image, pixel (one value a channel), or none."""
    if use_mean == "none":
        return None
    tensor = torch.from_numpy(np.array(mean, dtype=np.float32)).to(device)
    return tensor.mean((1, 2), keepdim=True) if use_mean == "pixel" else tensor


def steps_in_epoch(count: int, batch_size: int) -> int:
    return -(-count // batch_size)
