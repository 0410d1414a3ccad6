"""A view of an image at any positions: resampled once, by cubic convolution, along a smooth map."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.io.windows.source import WindowSource

Floats = NDArray[np.float64]
# Where pixels (rows, cols) of the view lie in the image, (2, n, m), row and column, 0 at the centre of the first pixel.
Positions = Callable[[NDArray[np.intp], NDArray[np.intp]], Floats]

# Parts of a view, along each axis, that are resampled at a time.
_BLOCK = 256
# Cubic convolution reaches from one pixel before to two after; gaps count among them by so much weight at least.
_TAPS = (-1, 0, 1, 2)
_LEAST_WEIGHT = 0.5


class RemappedSource:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` that samples another one at the positions of a map.

    Values are interpolated by cubic convolution (Keys, IEEE TASSP 29, 1981, a = -1/2), which keeps straight lines. A
    pixel is a gap in a band where the nearest pixel of the image is one, or lies outside; other gaps around it have no
    weight. Pixels of the view are about as large as those of the image.

    Args:
        source: the image; it is closed with this view.
        header: of the view, with the bands of the image.
        positions: of its pixels.

    Example:
        >>> from hyperfuse.io.windows.memory import MemorySource
        >>> ramp = Cube(data=np.arange(12.0).reshape(1, 2, 6))
        >>> shifted = RemappedSource(MemorySource(ramp), ramp.header, lambda rows, cols: np.stack(
        ...     np.meshgrid(rows, cols + 0.25, indexing="ij")))
        >>> shifted.read(Window(0, 2, 1, 2)).data.tolist()
        [[[2.25, 3.25]]]
    """

    def __init__(self, source: WindowSource, header: CubeHeader, positions: Positions) -> None:
        self._source, self._positions = source, positions
        self.header: CubeHeader = header

    def read(self, window: Window) -> Cube:
        """Return a window as a cube, with the window's own transform."""
        header = self.header.crop(*window)
        data = np.full(header.shape, np.nan, np.float32)
        for block in _blocks(window):
            at, needed = self._needed(block)
            if needed is None:
                continue
            part = self._source.read(needed)
            data = data.astype(part.data.dtype, copy=False)
            rows, cols = block.moved(-window.row, -window.col).slices
            data[:, rows, cols] = _interpolated(part, at - np.reshape(needed[:2], (2, 1, 1)))
        valid = np.isfinite(data)
        return Cube.from_header(header, data, None if valid.all() else valid)

    def may_hold_data(self, window: Window) -> bool:
        """Return False where the source is known to hold no data for a window."""
        return any(
            needed is not None and self._source.may_hold_data(needed)
            for needed in (self._needed(block)[1] for block in _blocks(window))
        )

    def close(self) -> None:
        """Close the image."""
        self._source.close()

    def _needed(self, block: Window) -> tuple[Floats, Window | None]:
        """Return the positions of a block, and the part of the image that it is made of; None where there is none."""
        rows, cols = np.arange(block.row, block.row + block.rows), np.arange(block.col, block.col + block.cols)
        at = self._positions(rows, cols)
        known = at[:, np.isfinite(at).all(axis=0)]
        if not known.size:
            return at, None
        _, height, width = self._source.header.shape
        first = np.maximum(np.floor(known.min(axis=1)) + _TAPS[0], 0).astype(int)
        last = np.minimum(np.floor(known.max(axis=1)) + _TAPS[-1] + 1, (height, width)).astype(int)
        if not (last > first).all():
            return at, None
        (top, left), (bottom, right) = first.tolist(), last.tolist()
        return at, Window(top, left, bottom - top, right - left)


def _blocks(window: Window) -> Iterator[Window]:
    for top in range(window.row, window.row + window.rows, _BLOCK):
        for left in range(window.col, window.col + window.cols, _BLOCK):
            rows = min(_BLOCK, window.row + window.rows - top)
            yield Window(top, left, rows, min(_BLOCK, window.col + window.cols - left))


def _interpolated(part: Cube, at: Floats) -> NDArray[np.floating]:
    """Return the values (bands, n, m) of an image at positions (2, n, m) in it, NaN in gaps."""
    rows, cols = part.rows, part.cols
    finite = np.isfinite(at).all(axis=0)
    at = np.where(finite, at, 0.0)
    nearest = np.rint(at).astype(int)
    inside = finite & (nearest >= 0).all(axis=0) & (nearest[0] < rows) & (nearest[1] < cols)
    nearest = np.clip(nearest, 0, np.reshape((rows - 1, cols - 1), (2, 1, 1)))
    low = np.floor(at).astype(int)
    weights = [[_cubic(offset - (one - floor)) for offset in _TAPS] for one, floor in zip(at, low, strict=True)]
    lines = [
        [np.clip(floor + offset, 0, size - 1) for offset in _TAPS]
        for floor, size in zip(low, (rows, cols), strict=True)
    ]
    known = np.ones(part.shape, np.bool_) if part.valid is None else part.valid
    filled = np.where(known, part.data, part.data.dtype.type(0))
    values = np.zeros((part.bands, *at.shape[1:]), np.float64)
    total = np.zeros(values.shape if part.valid is not None else (1, *at.shape[1:]))
    for along_y, row in zip(weights[0], lines[0], strict=True):
        for along_x, col in zip(weights[1], lines[1], strict=True):
            weight = along_y * along_x
            values += weight * filled[:, row, col]
            total += weight * known[:, row, col] if part.valid is not None else weight
    values /= np.where(np.abs(total) > _LEAST_WEIGHT, total, 1.0)
    own = known[:, nearest[0], nearest[1]] & inside
    thin = own & (np.abs(total) <= _LEAST_WEIGHT)
    values[thin] = filled[:, nearest[0], nearest[1]][thin]
    return np.where(own, values, np.nan).astype(part.data.dtype)


def _cubic(distance: Floats) -> Floats:
    """Return the kernel of cubic convolution."""
    far = np.abs(distance)
    near, outer = (1.5 * far - 2.5) * far**2 + 1, ((-0.5 * far + 2.5) * far - 4) * far + 2
    return np.where(far < 1, near, np.where(far < 2, outer, 0.0))
