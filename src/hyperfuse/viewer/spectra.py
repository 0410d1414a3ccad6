"""Spectra of all images: at a position of the plane, or over a polygon in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.viewer.scene import Viewed, ViewedScene

# Pixels of an image that a polygon may cover, and values that are held at once.
_MOST_PIXELS = 1_000_000
_MOST_HELD = 4_000_000
Point = tuple[float, float]


def spectra_at(scene: ViewedScene, point: Point, only: int | None = None) -> list[dict[str, Any]]:
    """Return the spectrum of each image, or of one ``only``, at a position (col, row) of the plane, from its corner.

    Returns:
        For each image that covers the position: ``image`` (its number), ``row`` and ``col`` of the pixel, ``values``
        (None in gaps).

    Raises:
        InputError: damaged data.
    """
    found = []
    for number, image in enumerate(scene.images):
        if only not in (None, number):
            continue
        x, y = (float(one[0]) for one in image.placement.positions(np.array([point[0]]), np.array([point[1]])))
        if not (0 <= x < image.header.cols and 0 <= y < image.header.rows):
            continue
        row, col = int(y), int(x)
        values = image.levels.image.values(image.levels.image.every_band, 0, Window(row, col, 1, 1))[:, 0, 0]
        found.append({"image": number, "row": row, "col": col, "values": _numbers(values)})
    return found


def spectra_in(scene: ViewedScene, polygon: Sequence[Point]) -> list[dict[str, Any]]:
    """Return mean and standard deviation of each image over the pixels whose centres lie in a polygon of the plane.

    Returns:
        For each image with pixels in it: ``image``, ``pixels``, and by band, None where all are gaps: ``mean``,
        ``deviation`` (of the pixels, not of their mean), ``count`` of pixels that are no gaps.

    Raises:
        InputError: more pixels than can be averaged at once, or damaged data.
    """
    corners = np.array(polygon, np.float64)
    found = []
    for number, image in enumerate(scene.images):
        x, y = image.placement.positions(corners[:, 0], corners[:, 1])
        if not np.isfinite([x, y]).all():
            continue
        moments = _moments(image, np.stack([x, y], axis=1))
        if moments is not None:
            found.append({"image": number, **moments})
    return found


def _moments(image: Viewed, corners: NDArray[np.float64]) -> dict[str, Any] | None:
    header = image.header
    left, top = (max(int(np.floor(low)), 0) for low in corners.min(axis=0))
    right, bottom = (
        min(int(np.ceil(high)), size)
        for high, size in zip(corners.max(axis=0), (header.cols, header.rows), strict=True)
    )
    if right <= left or bottom <= top:
        return None
    if (right - left) * (bottom - top) > 4 * _MOST_PIXELS:
        raise InputError(_too_many(image, (right - left) * (bottom - top)))
    inside = in_polygon(corners, np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
    pixels = int(np.count_nonzero(inside))
    if pixels == 0:
        return None
    if pixels > _MOST_PIXELS:
        raise InputError(_too_many(image, pixels))
    bands = image.levels.image.every_band
    count, total, squares = (np.zeros(len(bands)) for _ in range(3))
    shift: NDArray[np.float64] | None = None
    with image.levels.image.source(bands, 0) as source:
        for part in _parts(Window(top, left, bottom - top, right - left), len(bands), image):
            here = inside[part.row - top : part.row - top + part.rows, part.col - left : part.col - left + part.cols]
            if not here.any():
                continue
            values = source.read(part).data[:, here].astype(np.float64)
            valid = np.isfinite(values)
            if shift is None:  # sums of squares of numbers far from 0 lose their digits
                shift = np.where(
                    valid.any(axis=1), np.nan_to_num(values).sum(axis=1) / np.maximum(valid.sum(axis=1), 1), 0
                )
            moved = np.where(valid, values - shift[:, None], 0)
            count += valid.sum(axis=1)
            total += moved.sum(axis=1)
            squares += (moved**2).sum(axis=1)
    assert shift is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return {
        "pixels": pixels,
        "mean": _numbers(mean + shift),
        "deviation": _numbers(deviation),
        "count": count.astype(int).tolist(),
    }


def in_polygon(corners: NDArray[Any], cols: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which points of a grid lie in a polygon (even-odd rule), (rows, cols).

    Args:
        corners: (n, 2), as (col, row).
        cols: of the points.
        rows: of the points.

    Example:
        >>> in_polygon(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]), np.array([0.5, 1.5]), np.array([0.5])).tolist()
        [[True, False]]
    """
    inside = np.zeros((rows.size, cols.size), np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crossed = (rows >= min(y0, y1)) & (rows < max(y0, y1))
        if crossed.any():
            at = x0 + (rows[crossed] - y0) * (x1 - x0) / (y1 - y0)
            inside[crossed] ^= cols[None] < at[:, None]
    return inside


def _parts(window: Window, bands: int, image: Viewed) -> list[Window]:
    """Return parts of a window that are read one after the other, at blocks of the file."""
    layout = image.levels.image.layout
    width = max(min(layout.cols, window.cols, _MOST_HELD // bands), 1)
    height = max(_MOST_HELD // (bands * width), 1)
    height = min(height, layout.rows) if layout.rows > 1 else height
    rows = _cuts(window.row, window.rows, height)
    cols = _cuts(window.col, window.cols, width)
    # Column by column inside a block's rows, so that a block is decoded once.
    return [Window(row, col, high, wide) for col, wide in cols for row, high in rows]


def _cuts(start: int, count: int, step: int) -> list[tuple[int, int]]:
    """Return where parts start, at multiples of a step, and how long they are."""
    starts = [start, *range((start // step + 1) * step, start + count, step)]
    return [(at, end - at) for at, end in zip(starts, [*starts[1:], start + count], strict=True)]


def _too_many(image: Viewed, pixels: int) -> str:
    return f"the polygon covers {pixels} pixels of {image.name}; at most {_MOST_PIXELS} are averaged at once"


def _numbers(values: NDArray[np.floating]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
