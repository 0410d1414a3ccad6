"""Differences of pixels to those around them."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def differences(image: torch.Tensor, radius: int, step: int = 1) -> torch.Tensor:
    """Return the neighbours of every ``step``-th pixel of (..., n, H, W) in a patch minus the pixel, for n > 0.

    The result is (..., (patch^2 - 1) n, H, W), neighbour by neighbour, or of fewer rows and columns.
    """
    centre = image[..., ::step, ::step]
    channels, rows, cols = image.shape[-3:]
    if not channels:
        return centre
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    side = range(2 * radius + 1)
    around = [(y, x) for y in side for x in side if (y, x) != (radius, radius)]
    result = centre.new_empty(*centre.shape[:-3], len(around), *centre.shape[-3:])
    for index, (y, x) in enumerate(around):
        torch.sub(padded[..., y : y + rows : step, x : x + cols : step], centre, out=result[..., index, :, :, :])
    return result.flatten(-4, -3)
