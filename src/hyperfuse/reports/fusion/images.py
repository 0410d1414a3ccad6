"""Images of a report: bands reduced to the size of a screen, in colour, as text within the page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.image import imsave
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.display import (
    INFRARED,
    SHORTWAVE_INFRARED,
    Display,
    choose_display,
    find_display,
    render_rgb,
    stretch_limits,
)
from hyperfuse.cube.window import Window
from hyperfuse.sensor.axis import interpolation_operator
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.scattered import scattered_interpolation

Array = NDArray[np.float64]
Rgb = NDArray[np.float64]

LONGEST_SIDE = 900
RGB = Display((0, 1, 2), None, "")  # of a cube of three bands
# Images of fewer pixels are drawn with the edges of their pixels; larger ones are scaled smoothly.
_PIXELATED_SIDE = 450
# PNG is lossless; above this size JPEG is used, whose colours are within about a percent.
_PNG_BYTES = 300_000
_ENCODINGS: dict[str, dict[str, Any]] = {"png": {"optimize": True}, "jpeg": {"quality": 90, "subsampling": 0}}


class DisplayedPair(NamedTuple):
    """One display of the scene: HSI (interpolated) and fused image (rows, cols, 3) in [0, 1], in one stretch."""

    display: Display
    before: Rgb
    after: Rgb


class Picture(NamedTuple):
    """An image of the page: data URI, size in pixels, and whether the browser draws the edges of its pixels."""

    src: str
    width: int
    height: int
    pixelated: bool


def displays(cube: Cube) -> list[Display]:
    """Return the displays of a cube: that of ``choose_display``, and a false colour where it has the bands for one."""
    first = choose_display(cube)
    for name, targets in (INFRARED, SHORTWAVE_INFRARED):
        second = find_display(cube, name, targets)
        if second is not None and second.name != first.name and second.bands != first.bands:
            return [first, second]
    return [first]


def display_step(size: tuple[int, ...], longest: int = LONGEST_SIDE) -> int:
    """Return the side of the blocks of pixels that are averaged into one displayed pixel; 1 where the image fits."""
    return max(1, math.ceil(max(size) / longest))


def averaged(band: NDArray[Any], step: int) -> Array:
    """Return a band (rows, cols) averaged over blocks of ``step`` x ``step`` pixels without their gaps.

    Blocks that the border cuts off average over the pixels they have; a block of gaps is a gap.

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


def mean_image(images: Iterable[NDArray[Any]]) -> Array:
    """Return the mean of images (rows, cols) at each pixel without their gaps; a pixel of gaps alone is a gap."""
    total: Any = 0.0
    count: Any = 0
    for image in images:
        known = np.isfinite(image)
        total, count = total + np.where(known, image, 0.0), count + known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def filled(band: NDArray[Any]) -> Array:
    """Return a band with its mean in its gaps."""
    known = np.isfinite(band)
    return np.where(known, band, np.mean(band[known], dtype=np.float64) if known.any() else 0.0).astype(np.float64)


def interpolated(band: NDArray[Any], sensor: Sensor, shape: tuple[int, int], step: int) -> Array:
    """Return an LR band (h, w), cubically interpolated to the displayed pixels, (H, W) / step, of an HR image.

    Gaps of the LR image stay gaps over the ground of their pixels.
    """
    known = np.isfinite(band)
    image = torch.from_numpy(filled(band))
    if sensor.displacement is not None:
        positions = sensor.inverse_at(_centres(shape[0], step), _centres(shape[1], step))
        image = scattered_interpolation((band.shape[0], band.shape[1]), positions, "cubic")(image)
    else:
        for axis in (0, 1):
            # The centre of a displayed pixel lies (step - 1) / 2 HR pixels after that of its first HR pixel.
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
    return np.where(known[lr_pixels(sensor, Window(0, 0, *shape), band.shape, step)], values, np.nan)


def lr_pixels(sensor: Sensor, window: Window, lr_shape: tuple[int, ...], step: int = 1) -> tuple[NDArray[np.intp], ...]:
    """Return rows and columns of the LR pixels that hold the centres of every ``step`` HR pixels of a window.

    They index an LR image.
    """
    starts = ((window.row, window.rows), (window.col, window.cols))
    if sensor.displacement is None:
        lines = (lr_index(sensor, axis, size, lr_shape[axis], step, at) for axis, (at, size) in enumerate(starts))
        return np.ix_(*lines)
    rows, cols = (at + _centres(size, step) for at, size in starts)
    nearest = np.floor(sensor.inverse_at(rows, cols) + 0.5).astype(np.intp)
    return tuple(np.clip(one, 0, size - 1) for one, size in zip(nearest, lr_shape, strict=True))


def _centres(size: int, step: int) -> Array:
    return np.arange(math.ceil(size / step), dtype=np.float64) * step + (step - 1) / 2


def lr_index(sensor: Sensor, axis: int, size: int, lr_size: int, step: int = 1, first: int = 0) -> NDArray[np.intp]:
    """Return the LR row (axis 0) or column (1) that holds the centres of ``size`` / step displayed HR pixels."""
    centres = first + _centres(size, step)
    index = np.floor((centres - sensor.offset[axis]) / sensor.ratio[axis] + 0.5).astype(np.intp)
    return np.asarray(np.clip(index, 0, lr_size - 1))


def show_pair(hsi: Cube, fused: Cube, sensor: Sensor, display: Display) -> DisplayedPair:
    """Return HSI and fused image in one display, in the stretch of the fused image."""
    step = display_step((fused.rows, fused.cols))
    after = small_cube([averaged(fused.data[band], step) for band in display.bands])
    shape = (fused.rows, fused.cols)
    before = small_cube([interpolated(hsi.data[band], sensor, shape, step) for band in display.bands])
    limits = stretch_limits(after, RGB)
    return DisplayedPair(display, render_rgb(before, RGB, limits), render_rgb(after, RGB, limits))


def small_cube(bands: Sequence[NDArray[Any]]) -> Cube:
    """Return bands (rows, cols) with NaN in gaps as a cube."""
    data = np.stack(bands)
    return Cube(data=data, valid=np.isfinite(data))


def data_uri(image: Rgb) -> str:
    """Return an image (rows, cols, 3) in [0, 1] as the text of a PNG, or a JPEG where the PNG is large."""
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    for kind, options in _ENCODINGS.items():
        buffer = io.BytesIO()
        imsave(buffer, pixels, format=kind, pil_kwargs=options)
        if buffer.getbuffer().nbytes <= _PNG_BYTES:
            break
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def picture(image: Rgb) -> Picture:
    """Return an image (rows, cols, 3) in [0, 1] for the page."""
    rows, cols = image.shape[:2]
    return Picture(data_uri(image), cols, rows, max(rows, cols) < _PIXELATED_SIDE)


def _block_sums(values: Array, step: int) -> Array:
    starts = [np.arange(0, size, step) for size in values.shape]
    return np.asarray(np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1))
