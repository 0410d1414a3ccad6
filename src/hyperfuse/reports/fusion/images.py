"""Images of a report: bands averaged down to what a screen shows, in colour, as text that a page holds."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.image import imsave
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.reports.colours import Display, choose_display, render_rgb, stretch_limits
from hyperfuse.reports.fusion.markup import Markup, tag
from hyperfuse.sensor.axis import interpolation_operator
from hyperfuse.sensor.model import Sensor

Array = NDArray[np.float64]
Rgb = NDArray[np.float64]

LONGEST_SIDE = 900
# Images of fewer pixels are drawn with the edges of their pixels; larger ones the browser may scale as it likes.
_PIXELS_SEEN = 450
# A PNG keeps every value; above this size a JPEG takes its place, in which colours are good to about a percent.
_PNG_BYTES = 300_000
_JPEG = {"quality": 90, "subsampling": 0}

# What shows more than true colour does, most telling first: names and nm for red, green, blue.
_FALSE_COLOURS = (
    ("false colour (infrared)", (850.0, 650.0, 550.0)),
    ("false colour (shortwave infrared)", (2200.0, 1640.0, 850.0)),
)
_TOLERANCE_NM = 40.0


class View(NamedTuple):
    """One display of the scene: HSI (interpolated) and fused image (rows, cols, 3) in [0, 1], in one stretch."""

    display: Display
    before: Rgb
    after: Rgb


def displays(cube: Cube) -> list[Display]:
    """Return the ways to show a cube: that of ``choose_display``, and a false colour where it has the bands for one."""
    first = choose_display(cube)
    usable = np.flatnonzero(cube.usable_bands)
    if cube.wavelengths is None or not np.isfinite(cube.wavelengths[usable]).all():
        return [first]
    centres = cube.wavelengths[usable]
    for name, targets in _FALSE_COLOURS:
        nearest = [int(np.argmin(np.abs(centres - target))) for target in targets]
        near = float(np.abs(centres[nearest] - np.array(targets)).max()) <= _TOLERANCE_NM
        bands = tuple(int(usable[index]) for index in nearest)
        if near and len(set(bands)) == 3 and bands != first.bands and name != first.name:
            red, green, blue = (float(centres[index]) for index in nearest)
            return [first, Display((bands[0], bands[1], bands[2]), (red, green, blue), name)]
    return [first]


def display_step(size: tuple[int, ...], longest: int = LONGEST_SIDE) -> int:
    """Return how many pixels a side of an image (rows, cols) are averaged into one that is shown; 1 where it fits."""
    return max(1, math.ceil(max(size) / longest))


def averaged(band: NDArray[Any], step: int) -> Array:
    """Return a band (rows, cols) averaged over blocks of ``step`` pixels a side; gaps count only where all is gap.

    Blocks at the end that are cut off average over what there is of them.

    Example:
        >>> averaged(np.array([[1.0, 3.0, np.nan], [5.0, np.nan, np.nan]]), 2).tolist()
        [[3.0, nan]]
    """
    if step == 1:
        return np.asarray(band, np.float64)
    known = np.isfinite(band)
    totals = _block_sums(np.where(known, band, 0.0).astype(np.float64), step)
    counts = _block_sums(known.astype(np.float64), step)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def interpolated(band: NDArray[Any], sensor: Sensor, shape: tuple[int, int], step: int) -> Array:
    """Return an LR band (h, w) by cubic interpolation on the shown pixels of an HR image of ``shape``, (H, W) / step.

    Gaps of the LR image stay gaps over the ground of their pixels.
    """
    known = np.isfinite(band)
    mean = float(np.mean(band[known], dtype=np.float64)) if known.any() else 0.0
    image = torch.from_numpy(np.where(known, band, mean).astype(np.float64))
    for axis in (0, 1):
        # The centre of a shown pixel lies (step - 1) / 2 HR pixels beyond that of its first HR pixel.
        operator = interpolation_operator(
            image.shape[axis],
            math.ceil(shape[axis] / step),
            ratio=sensor.ratio[axis] / step,
            phase=(sensor.offset[axis] - (step - 1) / 2) / step,
            kernel="cubic",
        )
        image = operator(image, axis - 2)
    values = image.numpy()
    if known.all():
        return values
    rows, cols = (lr_index(sensor, axis, size, band.shape[axis], step) for axis, size in ((0, shape[0]), (1, shape[1])))
    return np.where(known[np.ix_(rows, cols)], values, np.nan)


def lr_index(sensor: Sensor, axis: int, size: int, lr_size: int, step: int = 1, first: int = 0) -> NDArray[np.intp]:
    """Return the LR row (axis 0) or column (1) in which the centres of ``size`` / step shown HR pixels lie."""
    centres = first + np.arange(math.ceil(size / step)) * step + (step - 1) / 2
    cells = np.floor((centres - sensor.offset[axis]) / sensor.ratio[axis] + 0.5).astype(np.intp)
    return np.asarray(np.clip(cells, 0, lr_size - 1))


def view(hsi: Cube, fused: Cube, sensor: Sensor, display: Display) -> View:
    """Return the scene before and after in one display, in the stretch of the fused image."""
    step = display_step((fused.rows, fused.cols))
    after = small_cube([averaged(fused.data[band], step) for band in display.bands])
    shape = (fused.rows, fused.cols)
    before = small_cube([interpolated(hsi.data[band], sensor, shape, step) for band in display.bands])
    three = Display((0, 1, 2), display.wavelengths, display.name)
    limits = stretch_limits(after, three)
    return View(display, render_rgb(before, three, limits), render_rgb(after, three, limits))


def small_cube(bands: Sequence[NDArray[Any]]) -> Cube:
    """Return bands (rows, cols) with NaN in gaps as a cube."""
    data = np.stack(bands)
    return Cube(data=data, valid=np.isfinite(data))


def data_uri(image: Rgb) -> str:
    """Return an image (rows, cols, 3) in [0, 1] as the text of a PNG, or a JPEG where the PNG is large."""
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    kind, stored = "png", _encoded(pixels, "png")
    if len(stored) > _PNG_BYTES:
        kind, stored = "jpeg", _encoded(pixels, "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(stored).decode('ascii')}"


def picture(image: Rgb, description: str, **attributes: Any) -> Markup:
    """Return the element that shows an image (rows, cols, 3) in [0, 1]."""
    rows, cols = image.shape[:2]
    name = "pixels" if max(rows, cols) < _PIXELS_SEEN else None
    return tag("img", src=data_uri(image), alt=description, width=cols, height=rows, class_=name, **attributes)


def _encoded(pixels: NDArray[np.uint8], kind: str) -> bytes:
    buffer = io.BytesIO()
    imsave(buffer, pixels, format=kind, pil_kwargs=_JPEG if kind == "jpeg" else {"optimize": True})
    return buffer.getvalue()


def _block_sums(values: Array, step: int) -> Array:
    starts = [np.arange(0, size, step) for size in values.shape]
    return np.asarray(np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1))
