"""The rasters of a product, read through GDAL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.formats.gdal import failures, open_raster
from hyperfuse.io.products.members import Members
from hyperfuse.io.products.reflectance import check_size, decimated_size


@contextmanager
def opened(members: Members, name: str, *, bands: int = 1) -> Iterator[rasterio.DatasetReader]:
    """Open a raster of a product that has at least so many bands; errors inside name it.

    Raises:
        InputError: no raster, a damaged one, complex values, or too few bands.
    """
    try:
        with open_raster(members.raster(name)) as source, failures():
            check_size(source.height, source.width)
            if source.count < bands:
                raise InputError(f"has {source.count} bands, not {bands}")
            yield source
    except InputError as error:
        raise InputError(f"{name} {error}", error.parameter) from error.__cause__


def grid_of(source: rasterio.DatasetReader) -> Grid:
    """Return where the pixels of an open raster lie."""
    transform = None if source.transform == Affine.identity() else source.transform
    return Grid(source.height, source.width, transform, crs_text(source.crs))


def read_bands(members: Members, name: str, bands: Sequence[int], size: tuple[int, int], step: int = 1) -> NDArray[Any]:
    """Return bands (counted from 1) of a raster that lies on a known grid, shape (len(bands), rows, cols).

    With a ``step``, every so many pixels, of the overviews that the file has.

    Raises:
        InputError: another size than ``size`` (rows, cols), no such band, a damaged raster.
    """
    with opened(members, name, bands=max(bands)) as source:
        if (source.height, source.width) != size:
            raise InputError(f"has {source.height} x {source.width} pixels, not {size[0]} x {size[1]} as the image")
        return np.asarray(source.read(list(bands), out_shape=(len(bands), *decimated_size(size, step))))


def read_layer(members: Members, name: str, size: tuple[int, int], step: int = 1) -> NDArray[Any]:
    """Return the first band of a raster that lies on a known grid, shape (rows, cols); see :func:`read_bands`."""
    layer: NDArray[Any] = read_bands(members, name, [1], size, step)[0]
    return layer
