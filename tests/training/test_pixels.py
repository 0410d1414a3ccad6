"""Crops that are gathered from images of several sizes equal those that are cut."""

import numpy as np
import pytest
import torch

from hyperfuse.training.pixels import ImagePixels

SHAPES = [(7, 5), (4, 9), (6, 6)]


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *shape, generator=generator) for shape in SHAPES]


def test_crops_equal_slices(images):
    pixels = ImagePixels.copied(images, SHAPES, 3, torch.device("cpu"))
    numbers, rows, cols = np.array([2, 0, 1, 1]), np.array([0, 3, 0, 0]), np.array([2, 1, 0, 5])
    found = pixels.crops(numbers, rows, cols, 4)
    for one, number, row, col in zip(found, numbers, rows, cols, strict=True):
        assert torch.equal(one, images[number][:, row : row + 4, col : col + 4])


def test_rows_and_columns_in_any_order_and_number(images):
    pixels = ImagePixels.copied(iter(images), SHAPES, 3, torch.device("cpu"))
    rows, cols = torch.tensor([[5, 5, 0], [1, 2, 3]]), torch.tensor([[0, 4], [8, 0]])
    found = pixels.gather(torch.tensor([0, 1]), rows, cols)
    assert found.shape == (2, 3, 3, 2)
    assert torch.equal(found[0], images[0][:, rows[0]][:, :, cols[0]])
    assert torch.equal(found[1], images[1][:, rows[1]][:, :, cols[1]])
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_images_that_are_not_as_stated_are_refused(images):
    with pytest.raises(ValueError, match="zip"):
        ImagePixels.copied(images[:2], SHAPES, 3, torch.device("cpu"))
    with pytest.raises(RuntimeError):
        ImagePixels.copied(images, SHAPES, 2, torch.device("cpu"))
