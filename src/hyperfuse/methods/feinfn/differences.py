"""Differences of pixels to those around them."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def differences(image: torch.Tensor, radius: int, step: int = 1) -> torch.Tensor:
    """Return the neighbours of every ``step``-th pixel of (n, H, W) in a patch minus the pixel, for n > 0.

    The result is ((patch^2 - 1) n, H, W), neighbour by neighbour, or of fewer rows and columns.
    """
    centre = image[:, ::step, ::step]
    if not len(image):
        return centre
    rows, cols = image.shape[-2:]
    padded = F.pad(image[None], (radius,) * 4, mode="replicate")[0]
    side = range(2 * radius + 1)
    around = [(y, x) for y in side for x in side if (y, x) != (radius, radius)]
    result = centre.new_empty(len(around), *centre.shape)
    for one, (y, x) in zip(result, around, strict=True):
        torch.sub(padded[:, y : y + rows : step, x : x + cols : step], centre, out=one)
    return result.flatten(0, 1)
