"""WindowSource: an image of which windows are read, so that only a part of it is ever in memory."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window


class BlockLayout(NamedTuple):
    """How an image is stored: rows, columns and bands of the blocks that are read and decoded at once."""

    rows: int
    cols: int
    bands: int


# Of images that do not state it.
BLOCKS = BlockLayout(256, 256, 1)


class WindowSource(Protocol):
    """An image of which windows are read: a file, a cube in memory, or a warped view of another source."""

    @property
    def header(self) -> CubeHeader:
        """Metadata of the whole image."""

    def read(self, window: Window) -> Cube:
        """Return a window as a cube, with the window's own transform.

        Raises:
            InputError: a window outside the image, damaged data, NaN that nothing declares.
        """

    def may_hold_data(self, window: Window) -> bool:
        """Return False where it is known, without reading, that all of a window is a gap."""

    def close(self) -> None:
        """Close the file, if there is one."""


def offsets_of(source: Any) -> NDArray[np.float32] | None:
    """Return how far the samples of an image lie from the centres of its pixels, as it states them, else None.

    Those of an image that was put on a grid from sensor geometry: (2, rows, cols), along rows, then columns, in pixels.
    """
    offsets: NDArray[np.float32] | None = getattr(source, "offsets", None)
    return offsets


def layout_of(source: Any) -> BlockLayout:
    """Return how an image is stored, as far as its source states it; else blocks of 256 x 256 pixels of a band."""
    return BlockLayout(*getattr(source, "layout", BLOCKS))
