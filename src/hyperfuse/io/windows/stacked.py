"""Views that make one image of several: one placed on a larger grid, and the bands of several on one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hyperfuse.cube.crs import same_crs
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader, Grid
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.formats.stack import stacked_header, stacked_values
from hyperfuse.io.products.responses import RESPONSES
from hyperfuse.io.windows.source import WindowSource
from hyperfuse.io.windows.warped import WarpedSource

# Pixels of two images coincide where their corners are off by no more than this fraction of a pixel.
_OFF_GRID = 1e-3


class PlacedSource:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` on a grid of the same pixels; gaps where it does not reach.

    Args:
        source: the image; it is closed with this view.
        grid: that it is placed on.
        row: of the image's first pixel on the grid, may be below 0.
        col: likewise.
    """

    def __init__(self, source: WindowSource, grid: Grid, row: int, col: int) -> None:
        self._source, self._corner = source, (row, col)
        self.header: CubeHeader = source.header.replace(
            shape=(source.header.bands, grid.rows, grid.cols), transform=grid.transform, crs=grid.crs
        )

    def read(self, window: Window) -> Cube:
        """Return a window as a cube, with the window's own transform."""
        header = self.header.crop(*window)
        held = self._held(window)
        if held is None:
            return Cube.from_header(header, np.full(header.shape, np.nan, np.float32), np.zeros(header.shape, np.bool_))
        part = self._source.read(held)
        if (held.rows, held.cols) == (window.rows, window.cols):
            return Cube.from_header(header, part.data, part.valid)
        row, col = held.row + self._corner[0] - window.row, held.col + self._corner[1] - window.col
        inside = np.s_[:, row : row + held.rows, col : col + held.cols]
        data, valid = np.full(header.shape, np.nan, part.data.dtype), np.zeros(header.shape, np.bool_)
        data[inside], valid[inside] = part.data, True if part.valid is None else part.valid
        return Cube.from_header(header, data, valid)

    def may_hold_data(self, window: Window) -> bool:
        """Return False where it is known that all of a window is a gap."""
        held = self._held(window)
        return held is not None and self._source.may_hold_data(held)

    def close(self) -> None:
        """Close the image."""
        self._source.close()

    def _held(self, window: Window) -> Window | None:
        """Return the part of the image that lies in a window of the grid; None where it does not reach."""
        own = self._source.header
        row, col = max(window.row - self._corner[0], 0), max(window.col - self._corner[1], 0)
        rows = min(window.row + window.rows - self._corner[0], own.rows) - row
        cols = min(window.col + window.cols - self._corner[1], own.cols) - col
        return None if rows < 1 or cols < 1 else Window(row, col, rows, cols)


class StackedSource:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` of the bands of several images on one grid.

    Args:
        sources: the images; they are closed with this view.
        names: of their files, for messages and the names of bands that have none.
        order: indices among all their bands, in the order of the stack; default: as they are.
        changes: fields of the header, such as the history.

    Raises:
        InputError: images on other grids, or in other units.

    Example:
        >>> from hyperfuse.io.windows.memory import MemorySource
        >>> red, green = (MemorySource(Cube(data=np.full((1, 2, 3), value))) for value in (1.0, 2.0))
        >>> StackedSource([red, green], ["red", "green"], order=[1, 0]).read(Window(0, 0, 1, 1)).data.ravel().tolist()
        [2.0, 1.0]
    """

    def __init__(
        self,
        sources: Sequence[WindowSource],
        names: Sequence[str],
        *,
        order: Sequence[int] | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self._sources = list(sources)
        headers = [source.header for source in sources]
        header = stacked_header(headers, names)
        header = header.replace(attributes={**header.attributes, **_responses(headers)})
        self._order = list(range(header.bands) if order is None else order)
        self.header: CubeHeader = header.select_bands(self._order).replace(**(changes or {}))

    def read(self, window: Window) -> Cube:
        """Return a window as a cube, with the window's own transform."""
        data, valid = stacked_values([source.read(window) for source in self._sources])
        valid = None if valid is None else valid[self._order]
        return Cube.from_header(self.header.crop(*window), data[self._order], valid)

    def may_hold_data(self, window: Window) -> bool:
        """Return False where it is known that all of a window is a gap in one of the images."""
        return all(source.may_hold_data(window) for source in self._sources)

    def close(self) -> None:
        """Close the images."""
        for source in self._sources:
            source.close()


def placed_on(source: WindowSource, grid: Grid) -> WindowSource:
    """Return an image on a grid: as it is where their pixels coincide, else resampled (cubic).

    Raises:
        InputError: an image that does not overlap with the grid.
    """
    own = source.header
    corner = pixel_corner(grid, own)
    if corner is None:
        warped = WarpedSource(source, grid)
        if not warped.may_hold_data(Window(0, 0, grid.rows, grid.cols)):
            raise InputError("it does not overlap with the finest image, or holds no data there")
        return warped
    if corner == (0, 0) and (own.rows, own.cols) == (grid.rows, grid.cols):
        return source
    if not (-own.rows < corner[0] < grid.rows and -own.cols < corner[1] < grid.cols):
        raise InputError("it does not overlap with the finest image")
    return PlacedSource(source, grid, *corner)


def pixel_corner(grid: Grid, image: CubeHeader | Grid) -> tuple[int, int] | None:
    """Return (row, col) of the corner of an image on a grid; None where its pixels are not those of the grid.

    Images without a transform have a corner in common.
    """
    if image.transform is None or grid.transform is None:
        return (0, 0) if image.transform is grid.transform else None
    if not same_crs(grid.crs, image.crs):
        return None
    relative = ~grid.transform @ image.transform
    drift = [(relative.a - 1) * image.cols, relative.b * image.rows, relative.d * image.cols]
    drift += [(relative.e - 1) * image.rows, relative.c - round(relative.c), relative.f - round(relative.f)]
    return (round(relative.f), round(relative.c)) if max(map(abs, drift)) <= _OFF_GRID else None


def _responses(headers: Sequence[CubeHeader]) -> dict[str, str]:
    """Return the responses that products state of the bands, those of all images together."""
    texts = [header.attributes[RESPONSES] for header in headers if RESPONSES in header.attributes]
    curves = dict.fromkeys(curve for text in texts for curve in text.split(";"))
    return {RESPONSES: ";".join(curves)} if curves else {}
