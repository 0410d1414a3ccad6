"""Values as colours: linear between two limits, in grey, as three channels, or by a scale of colours."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hyperfuse.viewer.pyramid import Floats

Scale = Literal["grey", "cubehelix"]
_STEPS = 256
# Percentiles of the values that become black and white.
PERCENTILES = (2.0, 98.0)


def limits_of(values: Floats) -> tuple[float, float]:
    """Return the values that become black and white, of values without gaps: percentiles 2 and 98."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    return (low, high) if high > low else (low, low + 1.0)


def colour(values: Floats, limits: NDArray[np.float64], scale: Scale) -> NDArray[np.uint8]:
    """Return values as an image with transparency, (rows, cols, 4).

    Args:
        values: (1, rows, cols) or (3, rows, cols), NaN in gaps, which become transparent.
        limits: (channels, 2), the values that become the first and last colour.
        scale: the colours of one channel.
    """
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    gaps = ~np.isfinite(values).all(axis=0)
    with np.errstate(over="ignore"):
        part = np.clip((np.where(gaps, 0, values) - low) / (high - low), 0, 1)
    steps = np.round(part * (_STEPS - 1)).astype(np.uint8)
    image = np.empty((*gaps.shape, 4), np.uint8)
    if len(values) == 1:
        image[..., :3] = colour_table(scale)[steps[0]]
    else:
        image[..., :3] = np.moveaxis(steps, 0, -1)
    image[..., 3] = np.where(gaps, 0, 255)
    return image


def colour_table(scale: Scale) -> NDArray[np.uint8]:
    """Return the colours of a scale, (256, 3): of equal steps of lightness also for those who see fewer colours.

    Green, "A colour scheme for the display of astronomical intensity images", Bull. Astron. Soc. India 39, 2011.
    """
    light = np.linspace(0, 1, _STEPS)
    if scale == "grey":
        return np.repeat(np.round(light * 255).astype(np.uint8)[:, None], 3, axis=1)
    start, rotations, saturation = 0.5, -1.5, 1.0
    angle = 2 * np.pi * (start / 3 + rotations * light)
    amplitude = saturation * light * (1 - light) / 2
    mix = np.array([[-0.14861, 1.78277], [-0.29227, -0.90649], [1.97294, 0.0]])
    found = light + amplitude * (mix @ np.stack([np.cos(angle), np.sin(angle)]))
    table: NDArray[np.uint8] = np.round(np.clip(found.T, 0, 1) * 255).astype(np.uint8)
    return table
