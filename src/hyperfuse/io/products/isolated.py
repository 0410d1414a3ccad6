"""The image of a product that a child process reads: on damaged files HDF5 may crash or loop."""

from __future__ import annotations

import warnings

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import HyperfuseWarning
from hyperfuse.io.encoding.options import ReadOptions
from hyperfuse.io.products.members import Source
from hyperfuse.runtime.isolation import call

_READ_WINDOW = f"{__package__}.located:read_window"


class IsolatedImage:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` over a product that a child process opens.

    Args:
        opener: "module:function" of a source and options that returns a :class:`~.image.ProductImage`, or a
            :class:`~.located.Located` one.
        source: the files of the product.
        options: of the caller.
        header: of the image.
    """

    def __init__(self, opener: str, source: Source, options: ReadOptions, header: CubeHeader) -> None:
        self._product = (opener, source, options)
        self.header = header

    def read(self, window: Window | None = None) -> Cube:
        """Return a window, or all, as a cube."""
        with warnings.catch_warnings():
            # What there is to say of the product was said when its header was read.
            warnings.simplefilter("ignore", HyperfuseWarning)
            cube: Cube = call(_READ_WINDOW, *self._product, window)
        return cube

    def may_hold_data(self, window: Window) -> bool:
        """Return True: what a window holds is known when it is read."""
        return True

    def close(self) -> None:
        """Do nothing: the child keeps no file open."""
