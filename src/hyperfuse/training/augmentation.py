"""Augmentation of reference patches before they are degraded: pure functions of a patch and a generator."""

from __future__ import annotations

import math

import numpy as np
import torch

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


def dimmed(patch: torch.Tensor, gain: float, generator: np.random.Generator) -> torch.Tensor:
    """Multiply the bands of (bands, rows, cols) by a smooth random curve between 1 - ``gain`` and 1.

    It simulates another illumination, and is linear between four random values, evenly spaced over the bands.
    """
    values = 1 - gain * generator.random(_GAIN_KNOTS)
    where = np.linspace(0, _GAIN_KNOTS - 1, patch.shape[0]) if patch.shape[0] > 1 else np.zeros(1)
    curve = np.interp(where, np.arange(_GAIN_KNOTS), values)
    return patch * torch.from_numpy(curve).to(patch)[:, None, None]


def shrunk(window: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return (bands, rows, cols) at another ``size``, bilinear with antialiasing."""
    if window.shape[-2:] == size:
        return window
    return torch.nn.functional.interpolate(
        window[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )[0]


def random_rectangle(rows: int, cols: int, generator: np.random.Generator) -> tuple[slice, slice]:
    """Draw a rectangle of 10 to 50 % of the area, with an aspect ratio of up to 1:2, inside the patch."""
    area = generator.uniform(_MIN_AREA, _MAX_AREA)
    proportion = 2 ** generator.uniform(-0.5, 0.5)
    height = min(rows, max(1, round(rows * math.sqrt(area * proportion))))
    width = min(cols, max(1, round(cols * math.sqrt(area / proportion))))
    row, col = int(generator.integers(rows - height + 1)), int(generator.integers(cols - width + 1))
    return slice(row, row + height), slice(col, col + width)


def mixed(patch: torch.Tensor, other: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Return the patch with a random rectangle of it replaced by that of ``other`` (CutMix, Yun et al., 2019).

    As this happens before the patch is degraded, reference and pair stay consistent at the seams.
    """
    rows, cols = random_rectangle(patch.shape[-2], patch.shape[-1], generator)
    result = patch.clone()
    result[..., rows, cols] = other[..., rows, cols]
    return result
