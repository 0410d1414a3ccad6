"""Registration of a matched pair beyond one shift: how far it is searched, and the displacement in the sensor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.sensor.displacement_map import metres_per_pixel
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.registration.components import PairComponents
from hyperfuse.sensor.registration.register import register
from hyperfuse.sensor.registration.result import Registration

# How far off metadata may be: PRISMA lies up to 300 m off (USGS Open-File Report 2021-1030-K).
SEARCH_METRES = 350.0
# LR pixels where their size is not known; of the image, at most this fraction of a side.
_SEARCH_PIXELS, _SEARCH_FRACTION = 12.0, 0.25
# A displacement that is affine and larger than this many LR pixels is left to the MSI's grid, which is then rotated.
_LARGEST_AFFINE = 4.0
# Weights of positions beyond the image, at which a field that folds there is made constant, tried one after the other.
_BEYOND = (1e-4, 2e-3, 0.05)


def search_reach(hsi: CubeHeader, lr_shape: tuple[int, int], binned: int = 1, metres: float | None = None) -> float:
    """Return how many pixels to either side one shift is searched, of an image of ``lr_shape`` that bins LR pixels.

    Raises:
        InputError: ``metres`` are specified, and the size of an LR pixel is not known.
    """
    size = lr_metres(hsi)
    if size is None and metres is not None:
        raise InputError("search is in metres, and the HSI states no coordinate system; leave it out", "search")
    reach = (_SEARCH_PIXELS if size is None else (metres or SEARCH_METRES) / size) / binned
    return float(np.clip(reach, 1.0, max(1.0, _SEARCH_FRACTION * min(lr_shape))))


def lr_metres(hsi: CubeHeader) -> float | None:
    """Return the size of an LR pixel in metres, None where it is not stated."""
    sizes = metres_per_pixel(hsi)
    return None if sizes is None else max(sizes)


def register_pair(pair: PairComponents, hsi: CubeHeader, binned: int = 1, metres: float | None = None) -> Registration:
    """Register the components of a pair; see :func:`~hyperfuse.sensor.registration.register.register`.

    A displacement so large that the LR image would no longer lie along the MSI is not accepted as one.

    Args:
        pair: components of both images.
        hsi: header of the HSI.
        binned: LR pixels that are one pixel of the components, along each axis.
        metres: to either side that one shift is searched; default: ``SEARCH_METRES``.
    """
    found = register(pair, search_reach(hsi, pair.lr_shape, binned, metres)).enlarged(binned)
    if found.bends and found.model == "affine":
        displacement = found.displacement((1.0, 1.0))
        if displacement is not None and displacement.largest(found.lr_shape) > _LARGEST_AFFINE:
            return replace(found, model="scale")
    if not found.bends or found.field is None:
        return found
    # Where a field ends steeply it may fold beyond the image, which is no reason to do without it.
    constant = [replace(found, field=found.field.constant_beyond(found.lr_shape, weight)) for weight in _BEYOND]
    refused = ""
    for tried in (found, *constant):
        try:
            pair.sensor.replace(displacement=tried.displacement(pair.sensor.ratio))
        except InputError as error:
            refused = str(error)
        else:
            return tried
    return replace(found, doubt=refused)


def displaced(sensor: Sensor, found: Registration) -> Sensor:
    """Return a sensor that states where the HSI was found to lie: its mean shift as phase, and what bends."""
    ratio = sensor.ratio
    y, x = (phase + step * move for phase, step, move in zip(sensor.offset, ratio, found.shift, strict=True))
    return sensor.replace(phase=(y, x), displacement=found.displacement(ratio))
