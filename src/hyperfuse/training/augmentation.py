"""Augmentation of reference patches before they are degraded: pure functions of a patch and a generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.training.sections import AugmentationSection

Rectangle = tuple[slice, slice]
_GAIN_KNOTS = 4
_MIN_AREA, _MAX_AREA = 0.1, 0.5


def rotated(patch: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Return one of the eight symmetries of the square of (..., rows, cols): rotated, and flipped from 4 on.

    Example:
        >>> rotated(torch.tensor([[1, 2], [3, 4]]), 1).tolist()
        [[2, 4], [1, 3]]
    """
    result = torch.rot90(patch, symmetry % 4, (-2, -1))
    return result.flip(-1) if symmetry >= 4 else result


def gain_curve(bands: int, gain: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw a factor between 1 - ``gain`` and 1 for every band: a smooth curve, as another illumination has.

    It is linear between four random values, evenly spaced over the bands.
    """
    values = 1 - gain * generator.random(_GAIN_KNOTS)
    where = np.linspace(0, _GAIN_KNOTS - 1, bands) if bands > 1 else np.zeros(1)
    return np.asarray(np.interp(where, np.arange(_GAIN_KNOTS), values))


class Change(NamedTuple):
    """A symmetry of the square, and factors of the bands, (bands,), or None."""

    symmetry: int
    curve: NDArray[np.float64] | None

    def applied(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image (bands, rows, cols), rotated and dimmed."""
        image = rotated(image, self.symmetry) if self.symmetry else image
        return image if self.curve is None else image * torch.from_numpy(self.curve).to(image)[:, None, None]


def draw_change(section: AugmentationSection, bands: int, generator: np.random.Generator) -> Change:
    """Draw a symmetry and a dimming, where a configuration has them."""
    symmetry = int(generator.integers(8)) if section.symmetries else 0
    return Change(symmetry, gain_curve(bands, section.gain, generator) if section.gain else None)


def changed(images: torch.Tensor, changes: Sequence[Change]) -> torch.Tensor:
    """Return a batch (B, bands, rows, cols) with a change applied to each image; all have a curve, or none."""
    symmetries = [one.symmetry for one in changes]
    if any(symmetries):
        result = torch.empty_like(images)
        for symmetry in set(symmetries):
            chosen = [number for number, one in enumerate(symmetries) if one == symmetry]
            result[chosen] = rotated(images[chosen], symmetry)
        images = result
    curves = [one.curve for one in changes if one.curve is not None]
    return images * torch.from_numpy(np.stack(curves)).to(images)[:, :, None, None] if curves else images


def shrunk(window: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return (bands, rows, cols), or a batch of such, at another ``size``, bilinear with antialiasing."""
    if window.shape[-2:] == size:
        return window
    batch = window if window.ndim == 4 else window[None]
    small = torch.nn.functional.interpolate(batch, size=size, mode="bilinear", antialias=True, align_corners=False)
    return small if window.ndim == 4 else small[0]


def random_rectangle(rows: int, cols: int, generator: np.random.Generator) -> Rectangle:
    """Draw a rectangle of 10 to 50 % of the area, with an aspect ratio of up to 1:2, inside the patch."""
    area = generator.uniform(_MIN_AREA, _MAX_AREA)
    proportion = 2 ** generator.uniform(-0.5, 0.5)
    height = min(rows, max(1, round(rows * math.sqrt(area * proportion))))
    width = min(cols, max(1, round(cols * math.sqrt(area / proportion))))
    row, col = int(generator.integers(rows - height + 1)), int(generator.integers(cols - width + 1))
    return slice(row, row + height), slice(col, col + width)


def mixed(patch: torch.Tensor, other: torch.Tensor, rectangle: Rectangle) -> torch.Tensor:
    """Return the patch with a rectangle of it replaced by that of ``other`` (CutMix, Yun et al., 2019).

    As this happens before the patch is degraded, reference and pair stay consistent at the seams.
    """
    result = patch.clone()
    result[..., rectangle[0], rectangle[1]] = other[..., rectangle[0], rectangle[1]]
    return result
