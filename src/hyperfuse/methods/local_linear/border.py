"""LR pixels near the border of an image, which hold light from beyond it."""

from __future__ import annotations

import math

import torch

from hyperfuse.sensor.model import Sensor

# Squared residuals of a ring of LR pixels, relative to those inside the image, from which it holds light from beyond:
# below 2 in images that are degraded with the border that the sensor assumes, 30 and more where a larger one was cut.
_BEYOND = 4.0
_MIN_SQUARE = 0.45  # median of the square of a standard normal number
_MIN_INNER = 16  # LR pixels


def beyond_border(residual: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    """Return the part of a residual near the border, in [0, 1], that is light from beyond it, (h, w); 0 elsewhere.

    Args:
        residual: of the degraded MSI, in deviations of usual residuals, (msi_bands, h, w).
        sensor: the forward model: how far the PSF reaches.
    """
    squared = residual.square().mean(0)
    factor, rings = torch.zeros_like(squared), _rings(sensor, (squared.shape[0], squared.shape[1])).to(squared.device)
    inside = squared[rings < 0]
    if len(inside) < _MIN_INNER:
        return factor
    usual = inside.median().clamp_min(_MIN_SQUARE)
    for ring in range(int(rings.max()) + 1):
        some = squared[rings == ring]
        if len(some) and float(some.median()) > _BEYOND * float(usual):
            factor[rings == ring] = float(1 - usual / some.mean())
    return factor


def _rings(sensor: Sensor, shape: tuple[int, int]) -> torch.Tensor:
    """Return the number, from 0 at the border, of LR pixels of which the PSF may reach beyond the image; else -1."""
    positions = []
    for size, reach, ratio in zip(shape, sensor.reach, sensor.ratio, strict=True):
        along = torch.arange(size)
        nearest = torch.minimum(along, along.flip(0))
        positions.append(torch.where(nearest < math.ceil(reach / ratio), nearest, max(shape)))
    ring = torch.minimum(positions[0][:, None], positions[1])
    return torch.where(ring < max(shape), ring, -1)
