"""Overviews: the reduced images that a raster holds besides its pixels."""

from __future__ import annotations

import warnings
from contextlib import closing
from pathlib import Path

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats.registry import format_to_read, split_variable
from hyperfuse.io.products import find_product
from hyperfuse.io.windows.source import WindowSource


def overview_factors(path: str | Path, options: ReadOptions) -> tuple[int, ...]:
    """Return by which factor the pixels of each overview of a file are larger; empty where it holds none.

    Values that only the caller declares as gaps were averaged into overviews as data: then none counts.
    """
    file, variable = split_variable(path)
    if options.nodata is not None or find_product(file, variable) is not None:
        return ()
    from hyperfuse.io.formats.raster import RasterImage  # it loads rasterio

    entry = format_to_read(file)
    if not entry.reader.startswith("raster:"):
        return ()
    with named(file), closing(RasterImage(file, options)) as image:
        return tuple(image.overviews)


def open_overview(path: str | Path, options: ReadOptions, index: int) -> WindowSource:
    """Open one of the overviews of a file, by its index in :func:`overview_factors`, to read windows of it.

    Raises:
        InputError: as :func:`~hyperfuse.io.windows.open.open_windows`.
    """
    from hyperfuse.io.formats.raster import RasterImage

    file, variable = split_variable(path)
    if variable is not None:
        raise InputError(f"{file}: holds no named variables")
    with named(file), warnings.catch_warnings(action="ignore", category=HyperfuseWarning):
        return RasterImage(file, options, overview=index)
