"""Expand an LR image to the HR grid a few bands at a time, the first step of every method that injects details."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from hyperfuse.sensor.model import Sensor

# Bands handled at once: temporaries stay at a small part of the fused image.
BANDS_AT_ONCE = 16


def band_blocks(bands: int) -> Iterator[slice]:
    """Yield the slices that cut ``bands`` into blocks of at most :data:`BANDS_AT_ONCE`."""
    for start in range(0, bands, BANDS_AT_ONCE):
        yield slice(start, min(start + BANDS_AT_ONCE, bands))


def expand(image: torch.Tensor, shape: tuple[int, int], sensor: Sensor) -> torch.Tensor:
    """Interpolate (bands, h, w) cubically on the HR grid of ``shape``, aware of the phase.

    The same as ``sensor.upsample``, without temporaries of the size of the result.
    """
    expanded = image.new_empty(image.shape[0], *shape)
    for block in band_blocks(image.shape[0]):
        expanded[block] = sensor.upsample(image[block], shape, "cubic")
    return expanded
