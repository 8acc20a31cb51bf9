"""Batches on the device: every image once, prepared as whole tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.training.data import (
    Preparation,
    ResidentImages,
    StreamedImages,
    free_memory,
    mean_to_subtract,
    order_of_epoch,
    put_on_device,
    random_of_epoch,
)

CPU = torch.device("cpu")


@pytest.fixture
def arrays(tmp_path: Path):
    """Ten images whose values name them, mapped from a file as a dataset job leaves them."""
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 6), np.uint8)
    np.save(tmp_path / "images.npy", images)
    return np.load(tmp_path / "images.npy", mmap_mode="r"), np.arange(10, dtype=np.int64)


@pytest.mark.parametrize(("budget", "kind"), [(10_000, ResidentImages), (100, StreamedImages)])
def test_batches_follow_the_order_and_keep_the_last_part(arrays, budget, kind):
    data = put_on_device(*arrays, CPU, budget)
    assert isinstance(data, kind)
    order = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    batches = list(data.batches(order, 4))
    assert [len(images) for images, _ in batches] == [4, 4, 2]
    assert torch.cat([labels for _, labels in batches]).tolist() == order.tolist()
    assert torch.cat([images[:, 0, 0, 0] for images, _ in batches]).tolist() == order.tolist()
    assert batches[0][0].dtype == torch.uint8


def test_streaming_can_be_left_in_the_middle(arrays):
    batches = put_on_device(*arrays, CPU, budget=0).batches(torch.arange(10), 1)
    next(batches)
    batches.close()


def test_labels_are_whole_numbers_or_floats(arrays):
    images, labels = arrays
    assert put_on_device(images, labels, CPU).labels.dtype == torch.int64
    assert put_on_device(images, labels[:, None], CPU).labels.dtype == torch.float32


def test_order_depends_on_seed_and_epoch_only():
    first = order_of_epoch(100, seed=1, epoch=1, shuffle=True)
    assert sorted(first.tolist()) == list(range(100))
    assert torch.equal(first, order_of_epoch(100, seed=1, epoch=1, shuffle=True))
    assert not torch.equal(first, order_of_epoch(100, seed=1, epoch=2, shuffle=True))
    assert not torch.equal(first, order_of_epoch(100, seed=2, epoch=1, shuffle=True))
    assert order_of_epoch(5, seed=2**63 - 1, epoch=1, shuffle=False).tolist() == [0, 1, 2, 3, 4]


def test_mean_is_subtracted_and_values_stay_0_to_255():
    images = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    mean = np.array([[[1, 2], [3, 4]]], np.float32)
    whole = Preparation(mean_to_subtract(mean, "image"))(images)
    assert whole.tolist() == [[[[-1, -2], [-3, -4]]], [[[254, 253], [252, 251]]]]
    assert Preparation(mean_to_subtract(mean, "pixel"))(images)[0, 0].tolist() == [[-2.5, -2.5], [-2.5, -2.5]]
    plain = Preparation(mean_to_subtract(mean, "none"))(images)
    assert plain.dtype == torch.float32
    assert plain.max() == 255


def test_preparing_leaves_float_images_as_they_are():
    images = torch.ones(1, 1, 2, 2)
    Preparation(torch.ones(1, 2, 2))(images)
    assert images.sum() == 4


def test_crop_is_central_without_and_anywhere_with_randomness():
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(8), indexing="ij")
    images = torch.stack([rows, columns]).expand(64, 2, 6, 8).to(torch.uint8)
    crop = Preparation(crop_size=4)
    centre = crop(images)
    assert centre.shape == (64, 2, 4, 4)
    assert centre[0, :, 0, 0].tolist() == [1, 2]
    random = crop(images, random_of_epoch(1, 1))
    corners = {tuple(corner) for corner in random[:, :, 0, 0].tolist()}
    assert len(corners) > 5
    assert all(top <= 2 and left <= 4 for top, left in corners)
    # Each is one whole window of its own image.
    assert torch.equal(random[:, :, 3, 3] - random[:, :, 0, 0], torch.full((64, 2), 3.0))
    assert torch.equal(random, crop(images, random_of_epoch(1, 1)))


def test_mean_is_cropped_with_its_image():
    images = torch.arange(36, dtype=torch.uint8).reshape(1, 1, 6, 6)
    same = Preparation(mean=images[0].float(), crop_size=3)
    assert same(images, random_of_epoch(1, 1)).abs().sum() == 0
    assert same(images).abs().sum() == 0


def test_free_memory_is_something():
    assert free_memory(CPU) > 1_000_000
