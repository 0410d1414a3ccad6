"""The rasters of a product, read through GDAL: single layers, and the bands and flags of an image by windows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.cube.crs import crs_text
from hyperfuse.cube.header import Grid
from hyperfuse.errors import InputError
from hyperfuse.io.formats.gdal import failures, open_raster
from hyperfuse.io.products.image import Part, ProductBand
from hyperfuse.io.products.members import Members
from hyperfuse.io.products.reflectance import check_size


@contextmanager
def opened(members: Members, name: str, *, bands: int = 1) -> Iterator[rasterio.DatasetReader]:
    """Open a raster of a product that has at least this many bands; errors inside name it.

    Raises:
        InputError: no raster, a damaged one, complex values, or too few bands.
    """
    with _naming(name), open_raster(members.raster(name)) as source, failures():
        check_size(source.height, source.width)
        if source.count < bands:
            raise InputError(f"has {source.count} bands, not {bands}")
        yield source


def grid_of(source: rasterio.DatasetReader) -> Grid:
    """Return where the pixels of an open raster lie."""
    transform = None if source.transform == Affine.identity() else source.transform
    return Grid(source.height, source.width, transform, crs_text(source.crs))


def read_bands(members: Members, name: str, bands: Sequence[int], size: tuple[int, int]) -> NDArray[Any]:
    """Return bands (counted from 1) of a raster of a known size, shape (len(bands), rows, cols).

    Raises:
        InputError: another size than ``size`` (rows, cols), no such band, a damaged raster.
    """
    with opened(members, name, bands=max(bands)) as source:
        if (source.height, source.width) != size:
            raise InputError(f"has {source.height} x {source.width} pixels, not {size[0]} x {size[1]} as the image")
        return np.asarray(source.read(list(bands)))


@dataclass(frozen=True)
class QualityLayer:
    """A layer of flags, of which some make gaps.

    Attributes:
        file: the raster that it is in.
        marked: returns where stored flags make gaps.
        number: of its band in the raster, from 1.
        bands: bands of the product (indices) that it concerns; None: all.
        pixel: pixels of the image along a side of one of the layer.
    """

    file: str
    marked: Callable[[NDArray[Any]], NDArray[np.bool_]]
    number: int = 1
    bands: Collection[int] | None = None
    pixel: int = 1


class RasterBands:
    """The bands of a product in rasters, with its quality layers; see :class:`~.image.StoredBands`.

    Args:
        members: of the product.
        bands: each with the file and the number that it has there.
        layers: of flags.
        size: rows and columns of the image.
    """

    def __init__(
        self, members: Members, bands: Sequence[ProductBand], layers: Sequence[QualityLayer], size: tuple[int, int]
    ) -> None:
        self._members, self._bands, self._layers, self._size = members, bands, layers, size
        self._open: dict[str, rasterio.DatasetReader] = {}
        self._flagged: tuple[Part | None, dict[tuple[int, int], NDArray[np.bool_]]] = (None, {})

    def read(self, bands: Sequence[int], part: Part) -> NDArray[Any]:
        """Return the numbers of bands in a part of their grid."""
        chosen = [self._bands[index] for index in bands]
        files = list(dict.fromkeys(band.file for band in chosen))
        if len(files) == 1:
            numbers = [band.number for band in chosen]
            return self._stored(files[0], numbers, chosen[0].pixel, part)
        each = [self._stored(band.file, [band.number], band.pixel, part) for band in chosen]
        return np.concatenate(each)

    def gaps(self, bands: Sequence[int], part: Part) -> NDArray[np.bool_] | None:
        """Return where flags make gaps, (bands, rows, cols), or (1, rows, cols) where it is the same in all bands."""
        concerned = [layer for layer in self._layers if layer.bands is None or not set(bands).isdisjoint(layer.bands)]
        if not concerned:
            return None
        common = all(layer.bands is None for layer in concerned)
        gaps = np.zeros((1 if common else len(bands), *part.shape), np.bool_)
        for layer in concerned:
            marked = self._marked(layer, self._bands[bands[0]].pixel, part)
            for at, index in enumerate(bands[: len(gaps)]):
                if layer.bands is None or index in layer.bands:
                    gaps[at] |= marked
        return gaps

    def close(self) -> None:
        """Close the files."""
        while self._open:
            self._open.popitem()[1].close()

    def _stored(self, name: str, numbers: list[int], pixel: int, part: Part) -> NDArray[Any]:
        with self._raster(name, numbers, pixel) as source:
            window = tuple((axis.start, axis.stop) for axis in part.window.slices)
            return np.asarray(source.read(numbers, window=window, out_shape=(len(numbers), *part.shape)))

    def _marked(self, layer: QualityLayer, pixel: int, part: Part) -> NDArray[np.bool_]:
        """Return where a layer makes gaps in a part of the grid of bands, of the nearest pixels of the layer."""
        if self._flagged[0] != part:
            self._flagged = (part, {})
        held = self._flagged[1]
        key = (self._layers.index(layer), pixel)
        if key not in held:
            # Overviews of flags are no flags, so that the pixels are chosen here.
            rows, cols = ((index * pixel + (pixel - 1) // 2) // layer.pixel for index in (part.rows, part.cols))
            with self._raster(layer.file, [layer.number], layer.pixel) as source:
                window = ((int(rows[0]), int(rows[-1]) + 1), (int(cols[0]), int(cols[-1]) + 1))
                flags = source.read(layer.number, window=window)
            held[key] = np.asarray(layer.marked(flags[(rows - rows[0])[:, None], cols - cols[0]]), np.bool_)
        return held[key]

    @contextmanager
    def _raster(self, name: str, numbers: Sequence[int], pixel: int) -> Iterator[rasterio.DatasetReader]:
        with _naming(name), failures():
            if name not in self._open:
                self._open[name] = open_raster(self._members.raster(name))
            source = self._open[name]
            size = (self._size[0] // pixel, self._size[1] // pixel)
            if (source.height, source.width) != size:
                raise InputError(f"has {source.height} x {source.width} pixels, not {size[0]} x {size[1]} as the image")
            if source.count < max(numbers):
                raise InputError(f"has {source.count} bands, not {max(numbers)}")
            yield source


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{name} {error}", error.parameter) from error.__cause__
