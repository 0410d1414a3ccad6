"""Products in sensor geometry: opened with the positions of their pixels, and put on a grid, alone or several as one.

What opens a product returns its image, on a grid; or a :class:`Located` one. HDF5 files are opened in a child process
for every window, so that positions are read when they are asked for.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.geometry.placement import PixelMap, PlacedImage
from hyperfuse.io.geometry.swath import Swath, place_swaths
from hyperfuse.io.products.image import ProductImage
from hyperfuse.io.products.isolated import IsolatedImage
from hyperfuse.io.products.members import Source
from hyperfuse.io.products.reflectance import decimation
from hyperfuse.runtime.isolation import call

# Latitude and longitude of each pixel, in degrees on WGS 84.
LatLon = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Located:
    """An image in sensor geometry.

    Attributes:
        image: without a transform.
        locate: returns the latitude and longitude of each pixel, or their placement on a grid (of a lookup table).
        pixel: nominal size of a pixel in metres; None: as the positions show.
    """

    image: ProductImage
    locate: Callable[[], LatLon | PixelMap]
    pixel: float | None = None


@dataclass(frozen=True)
class Opener:
    """How products of a kind are opened: "module:function" of a source and options, in a child process or here."""

    name: str
    isolated: bool

    def open(self, sources: Sequence[Source], options: ReadOptions) -> ProductImage | IsolatedImage | PlacedImage:
        """Open a product, or several in sensor geometry as one image; see :func:`~.swath.place_swaths`.

        Raises:
            InputError: several that lie on grids of their own.
        """
        found = [self._open(source, options) for source in sources]
        swaths = [one for one in found if isinstance(one, Swath)]
        image: ProductImage | IsolatedImage | PlacedImage
        if len(swaths) == len(found):
            image = place_swaths(swaths, options.like)
        elif len(found) > 1:
            raise InputError("are images on grids of their own, which are merged as a whole")
        else:
            assert not isinstance(found[0], Swath)  # it would be among them
            image = found[0]
        if isinstance(image, PlacedImage):
            return image.every(decimation(options, image.header.rows, image.header.cols))
        return image

    def read(self, sources: Sequence[Source], options: ReadOptions) -> Cube:
        """Return the whole image, read in one call of the child process."""
        if self.isolated:
            cube: Cube = call(f"{__name__}:read_all", self, list(sources), options)
            return cube
        return read_all(self, sources, options)

    def is_swath(self, source: Source, options: ReadOptions) -> bool:
        """Return whether a product has a latitude and longitude for each pixel."""
        return isinstance(self._open(source, options), Swath)

    def _open(self, source: Source, options: ReadOptions) -> ProductImage | IsolatedImage | PlacedImage | Swath:
        if not self.isolated:
            image = pkgutil.resolve_name(self.name)(source, options)
            if not isinstance(image, Located):
                opened: ProductImage = image
                return opened
            image = _in_full(image, self.name, source, options)
            return _placed(image.image, image.locate(), image.pixel)
        header, positions, pixel = call(f"{__name__}:describe", self.name, source, options)
        if positions is None:
            return IsolatedImage(self.name, source, options, header)
        image = IsolatedImage(self.name, source, replace(options, overview=None), header)
        return _placed(image, positions, pixel)


def read_all(opener: Opener, sources: Sequence[Source], options: ReadOptions) -> Cube:
    """Return the whole image of products; see :class:`Opener`."""
    with closing(opener.open(sources, options)) as image:
        return image.read()


def describe(
    opener: str, source: Source, options: ReadOptions
) -> tuple[CubeHeader, LatLon | PixelMap | None, float | None]:
    """Return the header of a product, and of one in sensor geometry the positions and nominal size of its pixels."""
    found: ProductImage | Located = pkgutil.resolve_name(opener)(source, options)
    if isinstance(found, Located):
        found = _in_full(found, opener, source, options)
        with closing(found.image):
            return found.image.header, found.locate(), found.pixel
    with closing(found):
        return found.header, None, None


def read_window(opener: str, source: Source, options: ReadOptions, window: Window | None) -> Cube:
    """Return a window of the image of a product, in its own geometry."""
    found: ProductImage | Located = pkgutil.resolve_name(opener)(source, options)
    with closing(found.image if isinstance(found, Located) else found) as image:
        return image.read(window)


def _in_full(found: Located, opener: str, source: Source, options: ReadOptions) -> Located:
    """Return an image in sensor geometry with all of its pixels: an overview is made of it once it is placed."""
    if options.overview is None:
        return found
    found.image.close()
    whole: Located = pkgutil.resolve_name(opener)(source, replace(options, overview=None))
    return whole


def _placed(
    image: ProductImage | IsolatedImage, positions: LatLon | PixelMap, pixel: float | None
) -> PlacedImage | Swath:
    if isinstance(positions, PixelMap):
        return PlacedImage([image], positions)
    return Swath(image, positions[0], positions[1], pixel)
