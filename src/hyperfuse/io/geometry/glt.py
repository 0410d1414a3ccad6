"""Geometry lookup tables (GLT): for each pixel of a map the sample and line of the pixel of the sensor to show there.

Format: NV5 Geospatial, "ENVI: Georeference from Input Geometry"; the tables of EMIT and AVIRIS count from 1, hold 0
where there is nothing, and a negative number where the nearest pixel fills a hole (its absolute value counts).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.geometry.placement import PixelMap


def place_by_table(sample: NDArray[Any], line: NDArray[Any], size: tuple[int, int], grid: Grid) -> PixelMap:
    """Return the placement that a lookup table states.

    Args:
        sample: columns of the sensor from 1 on, 0 for none, negative for infilled, (rows, cols) of the map.
        line: rows of the sensor likewise.
        size: (rows, cols) of the image in sensor geometry.
        grid: of the map.

    Raises:
        InputError: tables of other shapes, that hold no whole numbers, place no pixel or leave the image.

    Example:
        >>> table = np.array([[0, 1, -2]])
        >>> place_by_table(table, table > 0, (1, 2), Grid(1, 3, None, None)).index.tolist()
        [[-1, 0, -1]]
        >>> place_by_table(table, abs(table) > 0, (1, 2), Grid(1, 3, None, None)).index.tolist()
        [[-1, 0, 1]]
    """
    if sample.shape != line.shape or sample.shape != (grid.rows, grid.cols):
        raise InputError(f"its lookup tables have other shapes: {sample.shape} and {line.shape}")
    columns, rows = (np.abs(np.nan_to_num(table, nan=0.0)).astype(np.int64) for table in (sample, line))
    covered = (columns > 0) & (rows > 0)
    if not covered.any():
        raise InputError("its lookup table places no pixel")
    if columns.max() > size[1] or rows.max() > size[0]:
        raise InputError(f"its lookup table leaves the image of {size[0]} x {size[1]} pixels")
    index = np.where(covered, (rows - 1) * size[1] + columns - 1, -1)
    return PixelMap(grid, index.astype(np.int32), {"orthorectified": "GLT, nearest pixel"})
