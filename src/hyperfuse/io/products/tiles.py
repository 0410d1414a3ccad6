"""The bands of a product whose image is cut into tiles, each a raster of all bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.window import Window
from hyperfuse.io.products.image import Part, ProductBand
from hyperfuse.io.products.members import Members
from hyperfuse.io.products.rasters import RasterBands


@dataclass(frozen=True)
class RasterTile:
    """A raster that holds a window of the image."""

    file: str
    window: Window


class TiledBands:
    """The bands of a product in tiles, 0 where there is none; see :class:`~.image.StoredBands`.

    Args:
        members: of the product.
        tiles: with all bands, in the order of ``bands``.
        bands: each with its number in the tiles.
        dtype: of the stored numbers.
    """

    def __init__(
        self, members: Members, tiles: Sequence[RasterTile], bands: Sequence[ProductBand], dtype: np.dtype[Any]
    ) -> None:
        self._tiles = [
            (
                tile.window,
                RasterBands(
                    members, [ProductBand(file=tile.file, number=band.number) for band in bands], (), tile.window[2:]
                ),
            )
            for tile in tiles
        ]
        self._dtype = dtype

    def read(self, bands: Sequence[int], part: Part) -> NDArray[Any]:
        """Return the numbers of bands in a part of the image."""
        numbers = np.zeros((len(bands), *part.shape), self._dtype)
        for window, source in self._tiles:
            rows, cols = (
                np.flatnonzero((index >= first) & (index < first + count))
                for index, first, count in ((part.rows, window.row, window.rows), (part.cols, window.col, window.cols))
            )
            if not (rows.size and cols.size):
                continue
            top, left = int(part.rows[rows[0]]), int(part.cols[cols[0]])
            bottom, right = int(part.rows[rows[-1]]) + 1, int(part.cols[cols[-1]]) + 1
            own = Window(top, left, bottom - top, right - left).moved(-window.row, -window.col)
            # Of an overview, tiles start with the pixel that is the image's next one.
            stored = source.read(bands, Part(own, part.step))
            numbers[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] = stored
        return numbers

    def gaps(self, bands: Sequence[int], part: Part) -> None:
        """Return None: there are no layers of flags."""
        return

    def close(self) -> None:
        """Close the files."""
        for _, source in self._tiles:
            source.close()
