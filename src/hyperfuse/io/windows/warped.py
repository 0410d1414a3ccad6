"""A view of an image on another grid: in another coordinate system, rotated, flipped, or with other pixels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import Resampling, reproject, transform

from hyperfuse.cube.crs import parse_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Grid, six_numbers
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.windows.source import WindowSource

# Blocks of the grid, from its first pixel, are the unit of resampling: each is made in the same way whatever window
# it is needed for. GDAL approximates coordinates along the rows of what it is given, so windows would differ.
_BLOCK = 256
# Source pixels around a block: cubic interpolation reaches two.
_MARGIN = 4
# A grid coarser than its source by more than this is averaged over; GDAL takes four samples along an axis up to it.
_FOUR_SAMPLES = 0.95
# Images without a coordinate system share the plane that they lie in; any projected one stands for it.
_PLANE = "EPSG:32631"


class WarpedSource:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` that resamples another one onto a grid (cubic, GDAL).

    A pixel is a gap in a band where the source has a gap in that band at the pixel's centre. Every window holds the
    same values as that part of the whole. An image without a coordinate system is taken to lie in the plane of the
    grid, one without a transform to have pixels of size 1 from (0, 0) on.

    Args:
        source: the image; it is closed with this view.
        grid: onto which it is resampled.

    Raises:
        InputError: a transform that gives pixels no area, or coordinates that cannot be transformed.

    Example:
        >>> from hyperfuse.io.windows.memory import MemorySource
        >>> flipped = Cube(data=np.arange(12.0).reshape(1, 3, 4), transform=(10, 0, 0, 0, 10, 0))
        >>> warped = WarpedSource(MemorySource(flipped), Grid(3, 4, Affine(10, 0, 0, 0, -10, 30), None))
        >>> warped.read(Window(0, 0, 1, 4)).data.tolist()
        [[[8.0, 9.0, 10.0, 11.0]]]
    """

    def __init__(self, source: WindowSource, grid: Grid) -> None:
        self._source, self._grid = source, grid
        own = source.header
        self._to_grid = grid.transform or Affine.identity()
        self._from_source = own.transform or Affine.identity()
        for affine in (self._to_grid, self._from_source):
            if not (np.isfinite(affine).all() and affine.determinant != 0):
                raise InputError(f"the transform {six_numbers(affine)} gives its pixels no area; correct it")
        self._crs = (own.crs, grid.crs) if own.crs is not None and grid.crs is not None else (_PLANE, _PLANE)
        self.header: CubeHeader = own.replace(
            shape=(own.bands, grid.rows, grid.cols), transform=grid.transform, crs=grid.crs or own.crs
        )
        self._scale = self._pixels_per_source_pixel()

    def read(self, window: Window) -> Cube:
        """Return a window as a cube, with the window's own transform."""
        header = self.header.crop(*window)
        data = np.full(header.shape, np.nan, np.float32)
        for block, inside, target in _blocks(window, self._grid):
            needed = self._source_window(block)
            if needed is None:
                continue
            part = self._source.read(needed)
            data = data.astype(part.data.dtype, copy=False)
            rows, cols = inside.slices
            data[:, target.slices[0], target.slices[1]] = self._resampled(part, needed, block)[:, rows, cols]
        valid = np.isfinite(data)
        return Cube.from_header(header, data, None if valid.all() else valid)

    def may_hold_data(self, window: Window) -> bool:
        """Return False where the source is known to hold no data for a window."""
        needed = self._source_window(window)
        return needed is not None and self._source.may_hold_data(needed)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _source_positions(self, rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.float64]:
        """Return where pixel corners (row, col) of the grid lie in the source, as rows and columns, (2, n)."""
        x, y = self._to_grid @ (cols, rows)
        if self._crs[0] != self._crs[1]:
            x, y = _transformed(self._crs[1], self._crs[0], x, y)
        col, row = ~self._from_source @ (np.asarray(x), np.asarray(y))
        return np.stack([row, col])

    def _source_window(self, block: Window) -> Window | None:
        """Return the part of the source that a part of the grid is made of; None where there is none."""
        _, height, width = self._source.header.shape
        along = np.linspace(0.0, 1.0, 9)
        rows, cols = (axis.ravel() for axis in np.meshgrid(along * block.rows, along * block.cols, indexing="ij"))
        found = self._source_positions(block.row + rows, block.col + cols)
        found = found[:, np.isfinite(found).all(axis=0)]
        if not found.size:
            return None
        reach = math.ceil(_MARGIN / min(self._scale))
        first = np.maximum(np.floor(found.min(axis=1)) - reach, 0)
        last = np.minimum(np.ceil(found.max(axis=1)) + reach, (height, width))
        if not (last > first).all():
            return None
        (top, left), (bottom, right) = first.astype(int).tolist(), last.astype(int).tolist()
        return Window(top, left, bottom - top, right - left)

    def _pixels_per_source_pixel(self) -> tuple[float, float]:
        """Return pixels of the grid per source pixel along (rows, cols), 1 where it is not much coarser."""
        y, x = self._grid.rows / 2, self._grid.cols / 2
        ends = self._source_positions(np.array([y - 0.5, y + 0.5, y, y]), np.array([x, x, x - 0.5, x + 0.5]))
        # Sizes of a pixel of the grid, in source pixels, along the source's rows and columns.
        sizes = np.abs(ends[:, 1] - ends[:, 0]) ** 2 + np.abs(ends[:, 3] - ends[:, 2]) ** 2
        scales = 1 / np.sqrt(sizes)
        y, x = (1.0 if not size < _FOUR_SAMPLES else float(size) for size in scales)
        return y, x

    def _resampled(self, part: Cube, window: Window, block: Window) -> NDArray[Any]:
        source = self._from_source @ Affine.translation(window.col, window.row)
        target = self._to_grid @ Affine.translation(block.col, block.row)
        data = np.full((part.bands, block.rows, block.cols), np.nan, part.data.dtype)
        # With several bands at once, GDAL interpolates across the gaps of one of them.
        bands: Sequence[slice | int] = [slice(None)] if part.valid is None else list(range(part.bands))
        for band in bands:
            try:
                with warnings.catch_warnings(action="ignore"):  # of a transform that is the identity: that is meant
                    reproject(
                        np.ascontiguousarray(part.data[band]), data[band],
                        src_transform=source, src_crs=self._crs[0], src_nodata=np.nan,
                        dst_transform=target, dst_crs=self._crs[1], dst_nodata=np.nan,
                        # By default GDAL derives the scale from the extents, which blurs what is rotated.
                        resampling=Resampling.cubic, YSCALE=self._scale[0], XSCALE=self._scale[1],
                    )  # fmt: skip
            except (CRSError, RasterioError) as error:
                raise InputError(f"the image cannot be warped to the grid: {error}") from error
        return data


def _blocks(window: Window, grid: Grid) -> Iterator[tuple[Window, Window, Window]]:
    """Yield the blocks that a window needs: a block of the grid, its part in the window, and where that part goes."""
    for top in range(window.row // _BLOCK * _BLOCK, window.row + window.rows, _BLOCK):
        for left in range(window.col // _BLOCK * _BLOCK, window.col + window.cols, _BLOCK):
            block = Window(top, left, min(_BLOCK, grid.rows - top), min(_BLOCK, grid.cols - left))
            row, col = max(top, window.row), max(left, window.col)
            rows = min(top + block.rows, window.row + window.rows) - row
            cols = min(left + block.cols, window.col + window.cols) - col
            part = Window(row, col, rows, cols)
            yield block, part.moved(-top, -left), part.moved(-window.row, -window.col)


def _transformed(source: str, target: str, x: NDArray[Any], y: NDArray[Any]) -> tuple[list[float], list[float]]:
    try:
        xs, ys = transform(parse_crs(source), parse_crs(target), x, y)
    except (CRSError, RasterioError) as error:
        raise InputError(f"the coordinates cannot be transformed from {source} to {target}: {error}") from error
    return xs, ys
