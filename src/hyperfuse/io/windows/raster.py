"""Windows of rasters that GDAL opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what GDAL says beyond RasterioError; public under no other name
from rasterio.errors import RasterioIOError

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats import envi_header
from hyperfuse.io.formats.raster import open_raster, read_opened, what_failed
from hyperfuse.io.windows.source import FileSource


class RasterSource(FileSource):
    """A GeoTIFF, COG, ENVI or other raster."""

    def __init__(self, path: Path, options: ReadOptions, variable: str | None = None) -> None:
        self.path = path
        self._options = options
        self._source = open_raster(envi_header.data_file(path))
        by_band = str(self._source.profile.get("interleave")).lower() == "band"
        self._planes = self._source.indexes if by_band else (1,)
        self._blocks: dict[tuple[int, int], bool] = {}
        self.header = self._read_header(self._source.height, self._source.width, 1)

    def _load(self, window: Window) -> Cube:
        try:
            return read_opened(_Cutout(self._source, window), self._options, self.path.name)
        except (RasterioIOError, CPLE_BaseError, UnicodeDecodeError) as error:
            raise InputError(what_failed(error)) from error

    def may_hold_data(self, window: Window) -> bool:
        """Look for blocks that a sparse GeoTIFF leaves out; GDAL reads them as nodata."""
        source = self._source
        absent_is_gap = source.nodata is not None or self._options.nodata == 0
        if source.driver != "GTiff" or not absent_is_gap:
            return True
        height, width = source.block_shapes[0]
        rows = range(window.row // height, -(-(window.row + window.rows) // height))
        cols = range(window.col // width, -(-(window.col + window.cols) // width))
        return any(self._has_block(y, x) for y in rows for x in cols)

    def _has_block(self, y: int, x: int) -> bool:
        """Return whether the file holds a block of any band; asked once, because there are many bands."""
        if (y, x) not in self._blocks:
            self._blocks[y, x] = any(
                self._source.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=plane) is not None
                for plane in self._planes
            )
        return self._blocks[y, x]

    def close(self) -> None:
        """Close the file."""
        self._source.close()


class _Cutout:
    """A raster of which only a window is read; its metadata are those of the whole."""

    def __init__(self, source: Any, window: Window) -> None:
        self._source = source
        rows = (window.row, window.row + window.rows)
        self._window = (rows, (window.col, window.col + window.cols))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, bands: Any) -> NDArray[Any]:
        return np.asarray(self._source.read(bands, window=self._window))

    def read_masks(self, band: int) -> NDArray[Any]:
        return np.asarray(self._source.read_masks(band, window=self._window))
