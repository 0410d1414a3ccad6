"""A cube in memory as a source of windows."""

from __future__ import annotations

from hyperfuse.cube.cube import Cube
from hyperfuse.cube.window import Window


class MemorySource:
    """A :class:`~hyperfuse.io.windows.source.WindowSource` over a cube.

    Example:
        >>> import numpy
        >>> MemorySource(Cube(data=numpy.ones((2, 40, 50)))).read(Window(8, 0, 10, 50)).data.shape
        (2, 10, 50)
    """

    def __init__(self, cube: Cube) -> None:
        self._cube, self.header = cube, cube.header

    def read(self, window: Window) -> Cube:
        """Return a window as a cube."""
        return self._cube.crop(*window)

    def may_hold_data(self, window: Window) -> bool:
        """Return False where all of a window is a gap."""
        valid = self._cube.valid
        return valid is None or bool(valid[:, window.slices[0], window.slices[1]].any())

    def close(self) -> None:
        """Do nothing: there is no file."""
