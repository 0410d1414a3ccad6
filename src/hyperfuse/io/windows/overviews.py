"""Overviews: the reduced images that a raster holds besides its pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

from hyperfuse.errors import HyperfuseWarning, InputError
from hyperfuse.io.encoding.damage import named
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.formats.registry import split_variable
from hyperfuse.io.windows.source import WindowSource


def open_overview(path: str | Path, options: ReadOptions, index: int) -> WindowSource:
    """Open one of the overviews of a raster file, by its index in ``RasterImage.overviews``, to read windows of it.

    Raises:
        InputError: as :func:`~hyperfuse.io.windows.open.open_windows`.
    """
    from hyperfuse.io.formats.raster import RasterImage

    file, variable = split_variable(path)
    if variable is not None:
        raise InputError(f"{file}: holds no named variables")
    with named(file), warnings.catch_warnings(action="ignore", category=HyperfuseWarning):
        return RasterImage(file, options, overview=index)
