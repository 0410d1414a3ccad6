"""Windows of rasters that GDAL opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.window import Window
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats.raster import RasterImage
from hyperfuse.io.windows.source import FileSource


class RasterSource(FileSource):
    """A GeoTIFF, COG, ENVI or other raster."""

    def __init__(self, path: Path, options: ReadOptions, variable: str | None = None) -> None:
        self._image, self._nodata = RasterImage(path, options), options.nodata
        super().__init__(path, self._image.header)
        by_band = str(self._image.dataset.profile.get("interleave")).lower() == "band"
        self._planes = self._image.dataset.indexes if by_band else (1,)
        self._blocks: dict[tuple[int, int], bool] = {}

    def _read_values(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        return self._image.read(window)

    def may_hold_data(self, window: Window) -> bool:
        """Look for blocks that a sparse GeoTIFF leaves out; GDAL reads them as nodata."""
        source = self._image.dataset
        absent_is_gap = source.nodata is not None or self._nodata == 0
        if source.driver != "GTiff" or not absent_is_gap:
            return True
        height, width = source.block_shapes[0]
        rows = range(window.row // height, -(-(window.row + window.rows) // height))
        cols = range(window.col // width, -(-(window.col + window.cols) // width))
        return any(self._has_block(y, x) for y in rows for x in cols)

    def _has_block(self, y: int, x: int) -> bool:
        """Return whether the file holds a block of any band; checked once, because there may be many bands."""
        if (y, x) not in self._blocks:
            self._blocks[y, x] = any(
                self._image.dataset.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=plane) is not None
                for plane in self._planes
            )
        return self._blocks[y, x]

    def close(self) -> None:
        """Close the file."""
        self._image.close()
