"""The image of a product that a child process reads: on damaged files HDF5 may crash or loop."""

from __future__ import annotations

import pkgutil
from contextlib import closing

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.image import ProductImage
from hyperfuse.io.products.members import Source
from hyperfuse.runtime.isolation import call


class IsolatedImage:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` over a product that a child process opens.

    Args:
        opener: "module:function" of a source and options that returns a :class:`~.image.ProductImage`.
        source: the files of the product.
        options: of the caller.
    """

    def __init__(self, opener: str, source: Source, options: ReadOptions) -> None:
        self._product = (opener, source, options)
        self.header: CubeHeader = call(f"{__name__}:read_header", *self._product)

    def read(self, window: Window | None = None) -> Cube:
        """Return a window, or all, as a cube."""
        cube: Cube = call(f"{__name__}:read_window", *self._product, window)
        return cube

    def may_hold_data(self, window: Window) -> bool:
        """Return True: what a window holds is known when it is read."""
        return True

    def close(self) -> None:
        """Do nothing: the child keeps no file open."""


def read_header(opener: str, source: Source, options: ReadOptions) -> CubeHeader:
    """Return the header of a product; see :class:`IsolatedImage`."""
    with closing(_opened(opener, source, options)) as image:
        return image.header


def read_window(opener: str, source: Source, options: ReadOptions, window: Window | None) -> Cube:
    """Return a window of a product; see :class:`IsolatedImage`."""
    with closing(_opened(opener, source, options)) as image:
        return image.read(window)


def _opened(opener: str, source: Source, options: ReadOptions) -> ProductImage:
    image: ProductImage = pkgutil.resolve_name(opener)(source, options)
    return image
